//! All of a gateway as data: saved, attached to a bug report, restored elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::agenda::Agenda;
use super::choice::Chooser;
use super::ids::Ids;
use super::journal::Entry;
use super::ledger::Ledger;
use super::merchant::{Accounts, Merchant};
use super::postback::Postback;
use super::repertoire::{Known, Repertoire};
use super::tally::Tallies;
use super::timestamp::Timestamp;
use super::transaction::Transaction;
use super::{Due, Gateway, Held};

/// A gateway's state. What is configuration (flags, banks, profiles, built-in scenarios) is not part of it,
/// but for the profile and the scenario that each transaction follows. Answers that are kept back belong to
/// connections, and are not saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    ids: Ids,
    disorder: ChaCha8Rng,
    merchants: Vec<Merchant>,
    scenarios: Vec<Known>,
    chooser: Chooser,
    transactions: Vec<Option<Transaction>>,
    agenda: Vec<(Timestamp, Due)>,
    /// Postbacks that have not come back; those under way when it was saved leave again.
    outbox: Vec<Postback>,
    pools: BTreeMap<CompactString, Vec<Held>>,
    postbacks: u64,
    journal: Vec<Entry>,
    journal_last: u64,
    journal_evicted: u64,
    tallies: Tallies,
}

impl Gateway {
    /// All of it.
    pub fn save(&self) -> State {
        State {
            ids: self.ids.clone(),
            disorder: self.disorder.clone(),
            merchants: self.rules.accounts.iter().map(|account| account.merchant.clone()).collect(),
            scenarios: self.repertoire.added().cloned().collect(),
            chooser: self.chooser.clone(),
            transactions: self.ledger.slots().map(Option::<&Transaction>::cloned).collect(),
            agenda: (self.agenda.iter().filter(|(_, due)| !matches!(due, Due::Release(_))))
                .map(|(at, due)| (at, due.clone()))
                .collect(),
            outbox: self.outbox.all(),
            pools: self.pools.clone(),
            postbacks: self.postbacks,
            journal: self.journal.after(0).cloned().collect(),
            journal_last: self.journal.last(),
            journal_evicted: self.journal.evicted(),
            tallies: self.journal.tallies().clone(),
        }
    }

    /// Becomes what was saved; what is under way belongs to a world that is gone. The error says what in it
    /// cannot be.
    pub fn restore(&mut self, state: State) -> Result<(), String> {
        let mut accounts = Accounts::default();
        for merchant in state.merchants {
            let username = Arc::clone(&merchant.username);
            accounts.put(merchant, &self.rules.profiles).map_err(|why| format!("merchants: {username}: {why}"))?;
        }
        let mut repertoire: Repertoire = self.settings.repertoire.clone();
        for Known { merchant, scenario, .. } in state.scenarios {
            let name = scenario.name.clone();
            repertoire
                .put(Arc::unwrap_or_clone(scenario), merchant)
                .map_err(|why| format!("scenarios: {name}: {why}"))?;
        }
        if let Some(why) = state.chooser.complaint() {
            return Err(format!("chooser: {why}"));
        }
        let slots = state.transactions.len();
        let sound = |due: &Due| match due {
            Due::Step(position, _) | Due::Tell(position, _) | Due::Answer(position, _) => position.is_within(slots),
            Due::Send(_) | Due::Release(_) => true,
        };
        let held_sound = state.pools.values().flatten().all(|held| held.position.is_within(slots));
        if !state.agenda.iter().all(|(_, due)| sound(due)) || !held_sound {
            return Err("agenda: it names a transaction that is not there".into());
        }
        let ledger = Ledger::restored(state.transactions, state.ids.checkouts())
            .map_err(|why| format!("transactions: {why}"))?;
        if !state.ids.comes_after(slots) {
            return Err("ids: they have not counted the transactions".into());
        }
        let mut agenda = Agenda::default();
        let due = state.agenda.into_iter().filter(|(_, due)| !matches!(due, Due::Release(_)));
        due.for_each(|(at, due)| agenda.put(at, due));
        let mut outbox = self.outbox.of_next_world();
        state.outbox.into_iter().for_each(|postback| outbox.put(postback));
        let mut journal = self.journal.restored(state.journal_last, state.journal_evicted, state.tallies);
        for entry in state.journal {
            journal.restore(entry);
        }
        self.drop_tickets(None);
        let mut fresh = Gateway::new(self.settings.clone());
        fresh.rules.accounts = accounts;
        *self = Gateway {
            repertoire,
            ids: state.ids,
            disorder: state.disorder,
            chooser: state.chooser,
            ledger,
            agenda,
            outbox,
            pools: state.pools,
            journal,
            postbacks: state.postbacks,
            last_ticket: self.last_ticket,
            released: self.take_released(),
            ..fresh
        };
        Ok(())
    }
}
