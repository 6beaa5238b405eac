//! Payments and postbacks that are on their way when the command of `exec` ends.

use std::time::Duration;

use tokio::time::Instant;

use super::signals::Signals;
use crate::gateway::Gateway;
use crate::gateway::timestamp::Span;
use crate::gateway::unfinished::Unfinished;
use crate::sandbox::Sandbox;

/// The longest that can be asked for.
const LONGEST: Duration = Duration::from_secs(600);
/// How long deliveries under way are waited for in any case.
const DELIVERIES: Duration = Duration::from_secs(3);

/// Reads the time for which is waited.
pub(super) fn span(text: &str) -> Result<Span, String> {
    let span: Span = text.parse()?;
    if span.0 <= LONGEST { Ok(span) } else { Err("write a duration of at most 10m, such as 5s".into()) }
}

/// Waits for what is on its way, at most for this long. Returns what is to be told of the rest. A signal ends the wait.
pub(super) async fn wait(sandbox: &Sandbox, longest: Duration, signals: &mut Signals) -> Option<String> {
    tokio::select! {
        () = until_done(sandbox, longest) => {}
        _ = signals.code_of_next() => {}
    }
    let (next, is_paused) = (sandbox.door().until_next_due(), sandbox.door().is_paused());
    told(sandbox.read(Gateway::unfinished), next, is_paused)
}

/// Returns when nothing is on its way that could arrive until the end of the wait.
async fn until_done(sandbox: &Sandbox, longest: Duration) {
    let (end, end_of_deliveries) = (Instant::now() + longest, Instant::now() + longest.max(DELIVERIES));
    let mut journal = sandbox.door().watch();
    loop {
        let next = sandbox.door().until_next_due().map(|next| Instant::now() + next).filter(|next| *next < end);
        let is_under_way = sandbox.read(|gateway| gateway.under_way() > 0);
        let until = match next {
            // What is due now is the scheduler's to take: it needs a moment.
            Some(next) => next.max(Instant::now() + Duration::from_millis(1)),
            None if is_under_way && Instant::now() < end_of_deliveries => end_of_deliveries,
            None => return,
        };
        tokio::select! {
            () = journal.changed() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

/// Says what the end of the command cuts off.
fn told(rest: Unfinished, next: Option<Duration>, is_paused: bool) -> Option<String> {
    let plural = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{count} {what}s")),
    };
    let pending = plural(rest.pending, "payment").map(|payments| format!("{payments} pending"));
    let postbacks = plural(rest.postbacks, "postback");
    let postbacks = postbacks.map(|postbacks| format!("{postbacks} never sent"));
    let parts: Vec<String> = pending.into_iter().chain(postbacks).collect();
    if parts.is_empty() {
        return None;
    }
    // The postback follows its payment.
    let enough = next.unwrap_or_default().as_secs() + 5;
    let advice = if is_paused {
        "The clock is paused: advance it before the command ends".to_owned()
    } else {
        format!("Wait for the result in the command, or add --linger {enough}s")
    };
    Some(format!("the command ended early: {}. {advice}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_is_told_with_the_way_to_wait_for_it() {
        let rest = |pending, postbacks| Unfinished { pending, postbacks };
        assert_eq!(told(rest(0, 0), None, false), None);
        assert_eq!(
            told(rest(1, 1), Some(Duration::from_millis(34_500)), false).unwrap(),
            "the command ended early: 1 payment pending, 1 postback never sent. Wait for the result in the command, or add --linger 39s"
        );
        let paused = told(rest(0, 2), None, true).unwrap();
        assert!(paused.contains("early: 2 postbacks never sent. The clock is paused"), "{paused}");
    }
}
