//! The weight of journal entries: the journal is limited in bytes.

use super::journal::{CallRecord, Entry, Event};
use super::postback::Delivery;

impl Entry {
    /// Returns roughly how many bytes it takes in memory.
    pub(super) fn weight(&self) -> usize {
        let inside = match &self.event {
            Event::Call(call) => {
                let reason = call.refusal.as_ref().map_or(0, |refusal| refusal.reason.len());
                size_of::<CallRecord>()
                    + call.refid.len()
                    + call.tid.len()
                    + call.summary.len()
                    + reason
                    + call.hint.as_ref().map_or(0, |hint| hint.len())
                    + call.request.len()
                    + 96
            }
            Event::Settled { tid, statusdesc, .. } => tid.len() + statusdesc.len() + 16,
            Event::Delivery(delivery) => {
                let headers = |list: &[(String, String)]| {
                    list.iter().map(|(name, value)| name.len() + value.len() + 64).sum::<usize>()
                };
                let answer =
                    delivery.outcome.as_ref().map_or(256, |answer| answer.body.len() + headers(&answer.headers));
                size_of::<Delivery>()
                    + delivery.postback.body.len()
                    + delivery.url.len() * 2
                    + headers(&delivery.headers)
                    + answer
            }
            Event::ConnectionFailed { problem, .. } => problem.len(),
            Event::RequestRefused { request, problem, .. } => request.len() + problem.len(),
            Event::Released { tid, .. } | Event::Awaits { tid, .. } | Event::Held { tid, .. } => tid.len(),
            Event::Payer { tid, .. } => tid.len() + 64,
            Event::Reset { .. } => 0,
        };
        size_of::<Entry>() + inside
    }
}
