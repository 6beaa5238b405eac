//! What is still to come of payments.

use std::collections::HashSet;

use super::scenario::Action;
use super::{Due, Gateway};

/// Payments and postbacks that are on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unfinished {
    /// Payments without a result that are going to have one.
    pub pending: usize,
    /// Postbacks that have not come back, one for each payment whose script still posts.
    pub postbacks: usize,
}

impl Gateway {
    /// Returns what happens if nobody does anything any more. A payment that waits for its payer without a limit is not
    /// part of it.
    pub fn unfinished(&self) -> Unfinished {
        let postbacks = self.outbox.waiting() + self.outbox.under_way() + self.held();
        let mut found = Unfinished { pending: 0, postbacks };
        let mut counted = HashSet::new();
        for (_, due) in self.agenda.iter() {
            let (position, turn, tells) = match due {
                Due::Step(position, turn) | Due::Answer(position, turn) => (position, turn, false),
                Due::Tell(position, turn) => (position, turn, true),
                Due::Send(_) => {
                    found.postbacks += 1;
                    continue;
                }
                Due::Release(_) => continue,
            };
            let transaction = self.ledger.get(*position).filter(|transaction| transaction.progress.turn == *turn);
            if let Some(transaction) = transaction
                && counted.insert(*position)
            {
                let ahead = transaction.scenario.steps.get(transaction.progress.step as usize..).unwrap_or_default();
                let posts = tells || ahead.iter().any(|step| matches!(step.action, Action::Postback(_)));
                found.pending += usize::from(transaction.outcome.is_none());
                found.postbacks += usize::from(posts);
            }
        }
        found
    }
}
