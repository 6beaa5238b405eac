//! All transactions, found by tid, by checkout id, and by merchant and refid.

use std::collections::HashMap;
use std::sync::Arc;

use super::transaction::Transaction;
use super::values::excerpt;

/// Where a transaction stands in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Position(usize);

impl Position {
    /// Whether a ledger with so many places has it.
    pub(super) fn is_within(self, places: usize) -> bool {
        self.0 < places
    }
}

fn share<T: PartialEq>(own: &mut Arc<T>, other: &Arc<T>) {
    if own == other {
        *own = Arc::clone(other);
    }
}

/// The digits of a checkout id: a letter and eleven of them.
fn checkout_number(id: &str) -> Option<u64> {
    let digits = id.strip_prefix('A').filter(|digits| digits.len() == 11)?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// The transactions of this run.
#[derive(Debug, Default)]
pub struct Ledger {
    /// `None` where one was forgotten: the others keep their places.
    transactions: Vec<Option<Transaction>>,
    by_tid: HashMap<Box<str>, Position>,
    /// By the digits of the id: a key that needs no memory of its own.
    by_checkout: HashMap<u64, Position>,
    by_refid: HashMap<Arc<str>, HashMap<Box<str>, Position>>,
}

impl Ledger {
    /// The ledger of these transactions; the error says which cannot be.
    pub(super) fn restored(transactions: Vec<Option<Transaction>>) -> Result<Ledger, String> {
        let mut ledger = Ledger::default();
        for transaction in transactions {
            let Some(mut transaction) = transaction else {
                ledger.transactions.push(None);
                continue;
            };
            let order = &transaction.order;
            if ledger.by_tid.contains_key(&transaction.tid) {
                return Err(format!("the tid {} stands there twice", excerpt(&transaction.tid)));
            }
            if checkout_number(&transaction.checkout).is_none_or(|number| ledger.by_checkout.contains_key(&number)) {
                return Err(format!(
                    "the checkout id {} is none, or stands there twice",
                    excerpt(&transaction.checkout)
                ));
            }
            if ledger.by_refid(&order.merchant, &order.refid).is_some() {
                return Err(format!("the refid {} stands there twice", excerpt(&order.refid)));
            }
            // Transactions share what they follow, as they did when they were made.
            if let Some(Some(before)) = ledger.transactions.last() {
                share(&mut transaction.scenario, &before.scenario);
                share(&mut transaction.profile, &before.profile);
            }
            if let Some(why) = transaction.scenario.complaint() {
                return Err(format!("{}: scenario: {why}", excerpt(&transaction.tid)));
            }
            ledger.insert(transaction);
        }
        Ok(ledger)
    }

    /// All places, those of forgotten transactions too.
    pub(super) fn slots(&self) -> &[Option<Transaction>] {
        &self.transactions
    }

    /// Takes a transaction in. That its refid is free was checked at admission.
    pub fn insert(&mut self, transaction: Transaction) -> Position {
        let position = Position(self.transactions.len());
        self.by_tid.insert(transaction.tid.clone(), position);
        if let Some(number) = checkout_number(&transaction.checkout) {
            self.by_checkout.insert(number, position);
        }
        let order = &transaction.order;
        match self.by_refid.get_mut(&order.merchant) {
            Some(refids) => refids.insert(order.refid.clone(), position),
            None => self.by_refid.entry(Arc::clone(&order.merchant)).or_default().insert(order.refid.clone(), position),
        };
        self.transactions.push(Some(transaction));
        position
    }

    /// The transaction at a position, unless it was forgotten.
    pub fn get(&self, position: Position) -> Option<&Transaction> {
        self.transactions[position.0].as_ref()
    }

    /// The transaction at a position, to be changed.
    pub(super) fn get_mut(&mut self, position: Position) -> Option<&mut Transaction> {
        self.transactions[position.0].as_mut()
    }

    /// Where the transaction with this tid is.
    pub fn position(&self, tid: &str) -> Option<Position> {
        self.by_tid.get(tid).copied()
    }

    /// The transaction with this tid, whoever's it is.
    pub fn find(&self, tid: &str) -> Option<&Transaction> {
        self.get(self.position(tid)?)
    }

    /// Where the transaction with this checkout id is.
    pub(super) fn position_by_checkout(&self, id: &str) -> Option<Position> {
        self.by_checkout.get(&checkout_number(id)?).copied()
    }

    /// The transaction with this checkout id.
    pub fn by_checkout(&self, id: &str) -> Option<&Transaction> {
        self.get(self.position_by_checkout(id)?)
    }

    /// Where the merchant's transaction with this refid is.
    pub fn position_by_refid(&self, merchant: &str, refid: &str) -> Option<Position> {
        self.by_refid.get(merchant)?.get(refid).copied()
    }

    /// The merchant's transaction with this tid.
    pub fn by_tid(&self, merchant: &str, tid: &str) -> Option<&Transaction> {
        self.find(tid).filter(|found| *found.order.merchant == *merchant)
    }

    /// The merchant's transaction with this refid.
    pub fn by_refid(&self, merchant: &str, refid: &str) -> Option<&Transaction> {
        self.get(self.position_by_refid(merchant, refid)?)
    }

    /// In the order in which they were accepted.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Transaction> {
        self.transactions.iter().flatten()
    }

    /// At most `count` of them, from a place on; forgotten ones leave places empty. For readers that must not look at
    /// all of them at once; places from [`Ledger::places`] on are empty.
    pub fn page(&self, from: usize, count: usize) -> impl Iterator<Item = &Transaction> {
        self.transactions.iter().skip(from).take(count).flatten()
    }

    /// At most `count` places before `place`, the newest first, each with its transaction where there still is one.
    pub fn newest(&self, place: usize, count: usize) -> impl Iterator<Item = (usize, Option<&Transaction>)> {
        let end = place.min(self.transactions.len());
        (end.saturating_sub(count)..end).rev().map(|place| (place, self.transactions[place].as_ref()))
    }

    /// How many places there are.
    pub fn places(&self) -> usize {
        self.transactions.len()
    }

    /// Forgets a merchant's transactions.
    pub(super) fn forget_merchant(&mut self, merchant: &str) {
        for position in self.by_refid.remove(merchant).unwrap_or_default().into_values() {
            if let Some(forgotten) = self.transactions[position.0].take() {
                self.by_tid.remove(&forgotten.tid);
                checkout_number(&forgotten.checkout).map(|number| self.by_checkout.remove(&number));
            }
        }
    }
}
