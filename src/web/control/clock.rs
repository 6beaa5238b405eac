//! The clock: what it says, pause, resume, advance.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{Request, Surfaces};
use super::input::body;
use super::{Outcome, Problem, ok};
use crate::clock::ClockMode;
use crate::gateway::Timestamp;
use crate::gateway::timestamp::Span;
use crate::scheduler::CannotAdvance;

pub(super) fn show(surfaces: &Surfaces) -> Outcome {
    ok(&state(surfaces))
}

/// What the clock says, and what it will meet.
pub(super) fn state(surfaces: &Surfaces) -> Value {
    let clock = surfaces.door.clock();
    let now = clock.now();
    surfaces.door.read(|gateway| {
        // What may leave at once is due at the beginning of time.
        let next = gateway.next_due().map(|due| due.max(now).to_string());
        json!({
            "now": now.to_string(),
            "mode": if clock.is_paused() { "paused" } else { "running" },
            "speed": clock.speed(),
            "next_due": next,
            "scheduled": gateway.scheduled(),
            "under_way": gateway.under_way(),
            "held": gateway.held(),
        })
    })
}

pub(super) fn pause(surfaces: &Surfaces) -> Outcome {
    surfaces.door.set_clock(ClockMode::Paused);
    show(surfaces)
}

pub(super) fn resume(surfaces: &Surfaces) -> Outcome {
    surfaces.door.set_clock(ClockMode::Running);
    show(surfaces)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    by: Option<Span>,
    to: Option<String>,
}

pub(super) async fn advance(surfaces: &Surfaces, request: &Request) -> Outcome {
    let example = r#"{"by": "30s"} or {"to": "2026-01-31T12:00:00Z"}"#;
    let wanted: Advance = body(request, example)?;
    let unusable = |why: String| Problem::unusable(why, format!("such as {example}"));
    let span = match wanted {
        Advance { by: Some(by), to: None } => by.0,
        Advance { by: None, to: Some(moment) } => {
            let moment: Timestamp = moment.parse().map_err(|why| unusable(format!("to: {why}")))?;
            let now = surfaces.door.now();
            if moment < now {
                return Err(unusable(format!("to: it is {now} already, and the clock never goes back")));
            }
            moment.since(now)
        }
        _ => return Err(unusable("say how far, with either by or to".into())),
    };
    go_on(surfaces, Some(span)).await
}

pub(super) async fn settle(surfaces: &Surfaces) -> Outcome {
    go_on(surfaces, None).await
}

/// Moves a paused clock on by a span, or until nothing is due any more.
pub(in crate::web) async fn go_on(surfaces: &Surfaces, span: Option<Duration>) -> Outcome {
    let scheduler = std::sync::Arc::clone(&surfaces.scheduler);
    // Spawned: a caller that hangs up must not leave the clock half way.
    let advancing = tokio::spawn(async move { scheduler.advance(span).await }).await;
    let advanced = match advancing {
        Ok(Ok(advanced)) => advanced,
        Ok(Err(why @ CannotAdvance::ClockRuns)) => {
            let hint = "POST /__sandbox/api/clock/pause first, or start with --clock paused";
            return Err(Problem::new(409, "clock-runs", why.to_string(), hint));
        }
        Ok(Err(why @ CannotAdvance::TooFar(_))) => {
            return Err(Problem::unusable(
                why.to_string(),
                "write a shorter time, or POST /__sandbox/api/reset to set the clock back",
            ));
        }
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let mut object = state(surfaces);
    object["moments"] = advanced.moments.into();
    object["complete"] = advanced.complete.into();
    if !advanced.complete {
        let paused = surfaces.door.clock().is_paused();
        let why = if paused {
            "there were too many moments for one call: call again"
        } else {
            "the clock was resumed, or the sandbox was reset or restored, meanwhile"
        };
        object["stopped"] = why.into();
    }
    ok(&object)
}
