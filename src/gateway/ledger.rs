//! All transactions, found by tid and by merchant and refid.

use std::collections::HashMap;

use super::transaction::Transaction;

/// Where a transaction stands in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position(usize);

/// The transactions of this run.
#[derive(Debug, Default)]
pub struct Ledger {
    transactions: Vec<Transaction>,
    by_tid: HashMap<Box<str>, Position>,
    by_refid: HashMap<Box<str>, HashMap<Box<str>, Position>>,
}

impl Ledger {
    /// Takes a transaction in. That its refid is free was checked at admission.
    pub fn insert(&mut self, transaction: Transaction) -> Position {
        let position = Position(self.transactions.len());
        self.by_tid.insert(transaction.tid.clone(), position);
        let order = &transaction.order;
        match self.by_refid.get_mut(&order.merchant) {
            Some(refids) => refids.insert(order.refid.clone(), position),
            None => self.by_refid.entry(order.merchant.clone()).or_default().insert(order.refid.clone(), position),
        };
        self.transactions.push(transaction);
        position
    }

    /// The transaction at a position.
    pub fn get(&self, position: Position) -> &Transaction {
        &self.transactions[position.0]
    }

    /// The transaction at a position, to be changed.
    pub fn get_mut(&mut self, position: Position) -> &mut Transaction {
        &mut self.transactions[position.0]
    }

    /// The merchant's transaction with this tid.
    pub fn by_tid(&self, merchant: &str, tid: &str) -> Option<&Transaction> {
        let found = self.get(*self.by_tid.get(tid)?);
        (*found.order.merchant == *merchant).then_some(found)
    }

    /// The merchant's transaction with this refid.
    pub fn by_refid(&self, merchant: &str, refid: &str) -> Option<&Transaction> {
        Some(self.get(*self.by_refid.get(merchant)?.get(refid)?))
    }

    /// In the order in which they were accepted.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Transaction> + ExactSizeIterator {
        self.transactions.iter()
    }
}
