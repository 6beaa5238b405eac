//! What a saved state can say that no gateway can be. Each error names the place.

use std::sync::Arc;

use super::super::choice::NEXT_LIMIT;
use super::super::postback::{Again, Postback};
use super::super::profile::Profile;
use super::super::scenario::Scenario;
use super::super::{Due, Held};
use super::Rest;

/// Higher counts are refused, so that none overflows later.
const COUNT_LIMIT: u64 = 1_000_000_000_000;

/// Checks the profiles and the scenarios that payments follow.
pub(super) fn tables(profiles: &[Arc<Profile>], scenarios: &[Arc<Scenario>]) -> Result<(), String> {
    let profile = profiles.iter().enumerate().find_map(|(index, profile)| Some((index, profile.complaint()?)));
    let scenario = scenarios.iter().enumerate().find_map(|(index, scenario)| Some((index, scenario.complaint()?)));
    match (profile, scenario) {
        (Some((index, why)), _) => Err(format!("profiles[{index}]: {why}")),
        (_, Some((index, why))) => Err(format!("scenarios[{index}]: {why}")),
        (None, None) => Ok(()),
    }
}

impl<M> Rest<M> {
    /// Checks all that can be checked without the settings; `places` says how many payments there are.
    pub(super) fn check(&self, places: usize) -> Result<(), String> {
        if !self.ids.comes_after(places) {
            return Err(format!("gateway.ids: the counter is not the number of payments, {places}"));
        }
        if let Some(why) = self.chooser.complaint() {
            return Err(format!("gateway.chooser: {why}"));
        }
        if self.chooser.queued().count() > NEXT_LIMIT {
            return Err(format!("gateway.chooser: more than {NEXT_LIMIT} scenarios are queued"));
        }
        for (index, (_, due)) in self.agenda.iter().enumerate() {
            let wrong = |why: String| format!("gateway.agenda[{index}]: {why}");
            match due {
                Due::Step(position, _) | Due::Tell(position, _) | Due::Answer(position, _) => {
                    if !position.is_within(places) {
                        return Err(wrong(NO_PAYMENT.into()));
                    }
                }
                Due::Send(postback) => self.check_postback(postback).map_err(wrong)?,
                Due::Release(_) => return Err(wrong("a delayed response belongs to a connection".into())),
            }
        }
        for (index, postback) in self.outbox.iter().enumerate() {
            self.check_postback(postback).map_err(|why| format!("gateway.outbox[{index}]: {why}"))?;
        }
        for Held { postback, position, .. } in self.pools.values().flatten() {
            let wrong = |why: String| format!("gateway.pools: postback {}: {why}", postback.number);
            self.check_postback(postback).map_err(wrong)?;
            if !position.is_within(places) {
                return Err(wrong(NO_PAYMENT.into()));
            }
        }
        self.check_journal()
    }

    fn check_postback(&self, postback: &Postback) -> Result<(), String> {
        if postback.number == 0 || postback.number > self.postbacks {
            return Err(format!("its number {} is not one of 1 to {}", postback.number, self.postbacks));
        }
        if let Some(Again::UntilAcknowledged(every, left)) = postback.again
            && (every.0.is_zero() || left > Scenario::COUNT_LIMIT)
        {
            return Err(format!(
                "it repeats {left} times every {every}: write up to {} and a pause",
                Scenario::COUNT_LIMIT
            ));
        }
        Ok(())
    }

    fn check_journal(&self) -> Result<(), String> {
        let highest = self.journal_last.max(self.postbacks).max(self.tallies.highest());
        if highest > COUNT_LIMIT {
            return Err(format!("gateway: a count is {highest}: no more than {COUNT_LIMIT} is possible"));
        }
        let mut before = self.journal_evicted;
        for (index, entry) in self.journal.iter().enumerate() {
            if entry.number <= before || entry.number > self.journal_last {
                return Err(format!("gateway.journal[{index}]: the number {} is out of order", entry.number));
            }
            before = entry.number;
        }
        if before > self.journal_last {
            return Err("gateway.journal_evicted: it is higher than journal_last".into());
        }
        Ok(())
    }
}

const NO_PAYMENT: &str = "the payment that it names does not exist";
