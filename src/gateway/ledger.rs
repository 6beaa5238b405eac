//! All transactions, found by merchant and refid, and by tid and checkout id, which tell their places. It grows without a pause: no part of it
//! is ever copied or rehashed as a whole.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::ids::{CheckoutIds, numbers_of_tid};
use super::system::System;
use super::transaction::Transaction;
use super::values::excerpt;

/// Where a transaction stands in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Position(u32);

impl Position {
    fn at(place: usize) -> Position {
        Position(u32::try_from(place).expect("memory ends before four thousand million payments"))
    }

    /// Whether a ledger with so many places has it.
    pub(super) fn is_within(self, places: usize) -> bool {
        (self.0 as usize) < places
    }
}

/// The transactions of this run.
#[derive(Debug)]
pub struct Ledger {
    places: Places,
    checkouts: CheckoutIds,
    hasher: DefaultHashBuilder,
    by_refid: Index,
    /// Each merchant's places, forgotten ones among them.
    by_merchant: HashMap<Arc<str>, Vec<Position>>,
}

/// How many transactions share one piece of memory.
const SEGMENT: usize = 256;
/// How many transactions there may be in a saved ledger, forgotten ones among them.
const MOST: usize = u32::MAX as usize / 2;

/// Transactions in pieces of memory that are never moved. A piece whose transactions are all forgotten is given back.
///
/// A clone shares the pieces: a shared piece is copied when one of its transactions is to be changed.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    /// `None` once a piece was given back.
    segments: VecDeque<Option<Arc<Segment>>>,
    /// How many of the first segments are gone.
    gone: usize,
    count: usize,
}

#[derive(Debug, Default)]
struct Segment {
    /// `None` where one was forgotten: the others keep their places.
    slots: Vec<Option<Transaction>>,
    live: usize,
}

impl Clone for Segment {
    fn clone(&self) -> Segment {
        // With room for all: a piece that is not full yet must not be moved when it grows.
        let mut slots = Vec::with_capacity(SEGMENT);
        slots.extend(self.slots.iter().cloned());
        Segment { slots, live: self.live }
    }
}

impl Places {
    fn push(&mut self, transaction: Transaction) -> Position {
        let position = Position::at(self.count);
        if self.count.is_multiple_of(SEGMENT) {
            let segment = Segment { slots: Vec::with_capacity(SEGMENT), live: 0 };
            self.segments.push_back(Some(Arc::new(segment)));
        }
        self.count += 1;
        if let Some(Some(segment)) = self.segments.back_mut() {
            let segment = Arc::make_mut(segment);
            segment.live += 1;
            segment.slots.push(Some(transaction));
        }
        position
    }

    /// Adds places of forgotten transactions.
    fn skip(&mut self, mut count: usize) {
        while count > 0 {
            let within = self.count % SEGMENT;
            if within == 0 {
                self.segments.push_back((count < SEGMENT).then(Arc::default));
            }
            let skipped = count.min(SEGMENT - within);
            if let Some(Some(segment)) = self.segments.back_mut() {
                let segment = Arc::make_mut(segment);
                segment.slots.reserve_exact(SEGMENT - segment.slots.len());
                segment.slots.extend(std::iter::repeat_with(|| None).take(skipped));
            }
            self.count += skipped;
            count -= skipped;
            self.give_back(self.count - 1);
        }
    }

    pub(super) fn get(&self, place: usize) -> Option<&Transaction> {
        self.segments.get(self.segment(place)?)?.as_ref()?.slots.get(place % SEGMENT)?.as_ref()
    }

    fn get_mut(&mut self, place: usize) -> Option<&mut Transaction> {
        let index = self.segment(place)?;
        let segment = self.segments.get_mut(index)?.as_mut()?;
        Arc::make_mut(segment).slots.get_mut(place % SEGMENT)?.as_mut()
    }

    fn take(&mut self, place: usize) -> Option<Transaction> {
        let index = self.segment(place)?;
        let segment = Arc::make_mut(self.segments.get_mut(index)?.as_mut()?);
        let taken = segment.slots.get_mut(place % SEGMENT)?.take();
        segment.live -= usize::from(taken.is_some());
        self.give_back(place);
        taken
    }

    /// Returns how many places there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Which of the segments that are left has this place, if any.
    fn segment(&self, place: usize) -> Option<usize> {
        (place / SEGMENT).checked_sub(self.gone)
    }

    /// Gives the memory of this place's segment back, when no more can come to be or stay in it.
    fn give_back(&mut self, place: usize) {
        let segment = self.segment(place).and_then(|index| self.segments.get_mut(index));
        if let Some(segment) = segment
            && segment.as_ref().is_some_and(|segment| segment.is_over())
        {
            *segment = None;
        }
        while self.segments.front().is_some_and(Option::is_none) {
            self.segments.pop_front();
            self.gone += 1;
        }
    }
}

impl Segment {
    /// Returns true if it was full once and all of it is forgotten.
    fn is_over(&self) -> bool {
        self.live == 0 && self.slots.len() == SEGMENT
    }
}

/// How many tables an index has: each is small, so that none takes long to grow.
const TABLES: usize = 256;

/// Positions by the hash of a key that the transaction itself holds. A table keeps half of the hash, so that growing
/// looks at no transaction.
#[derive(Debug)]
struct Index(Vec<HashTable<(u32, Position)>>);

impl Default for Index {
    fn default() -> Self {
        Index(std::iter::repeat_with(HashTable::new).take(TABLES).collect())
    }
}

/// What a table takes for the hash of an entry: its kept half, spread over all bits.
fn spread(kept: u32) -> u64 {
    u64::from(kept).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Index {
    /// The half of a hash that is kept, and the table, which the other half chooses.
    fn halves(hash: u64) -> (u32, usize) {
        let bytes = hash.to_le_bytes();
        (u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]), usize::from(bytes[7]))
    }

    fn insert(&mut self, hash: u64, position: Position) {
        let (kept, table) = Index::halves(hash);
        self.0[table].insert_unique(spread(kept), (kept, position), |(kept, _)| spread(*kept));
    }

    fn find(&self, hash: u64, is_it: impl Fn(Position) -> bool) -> Option<Position> {
        let (kept, table) = Index::halves(hash);
        let found = self.0[table].find(spread(kept), |(other, position)| *other == kept && is_it(*position));
        found.map(|(_, position)| *position)
    }

    fn remove(&mut self, hash: u64, position: Position) {
        let (kept, table) = Index::halves(hash);
        if let Ok(entry) = self.0[table].find_entry(spread(kept), |(_, other)| *other == position) {
            let (_, place) = entry.remove();
            let table = place.into_table();
            // A merchant that comes and goes leaves nothing behind.
            if table.is_empty() {
                *table = HashTable::new();
            }
        }
    }
}

impl Ledger {
    /// An empty ledger of payments with these checkout ids.
    pub(super) fn new(checkouts: CheckoutIds) -> Ledger {
        let (places, by_refid) = (Places::default(), Index::default());
        Ledger { places, checkouts, hasher: DefaultHashBuilder::default(), by_refid, by_merchant: HashMap::new() }
    }

    /// Takes in the next transaction of a saved ledger. The error says what in it contradicts its place or the others.
    pub(super) fn insert_saved(&mut self, transaction: Transaction) -> Result<(), String> {
        let Transaction { order, tid, checkout, .. } = &transaction;
        if self.places.count >= MOST {
            return Err(format!("there are more than {MOST} payments"));
        }
        let number = self.places.count as u64 + 1;
        if !numbers_of_tid(tid).any(|told| told == number) {
            return Err(format!("the tid {} is not the one of payment {number}", excerpt(tid)));
        }
        if self.checkouts.number(checkout) != Some(number) {
            return Err(format!("the checkout id {} is not the one of payment {number}", excerpt(checkout)));
        }
        if self.by_refid(&order.merchant, order.system, &order.refid).is_some() {
            return Err(format!("the refid {} of {} is used twice", excerpt(&order.refid), excerpt(&order.merchant)));
        }
        self.insert(transaction);
        Ok(())
    }

    /// Takes in the next places of a saved ledger, whose transactions were forgotten.
    pub(super) fn skip_saved(&mut self, count: usize) -> Result<(), String> {
        if count > MOST - self.places.count {
            return Err(format!("there are more than {MOST} payments"));
        }
        self.places.skip(count);
        Ok(())
    }

    /// Returns all transactions as they are now. It takes as long as there are pieces of memory: one for each 256.
    pub(super) fn snapshot(&self) -> Places {
        self.places.clone()
    }

    /// Takes a transaction in. That its refid is free was checked at admission.
    pub fn insert(&mut self, transaction: Transaction) -> Position {
        let position = Position::at(self.places.count);
        let order = &transaction.order;
        self.by_refid.insert(self.hasher.hash_one((&*order.merchant, order.system, &*order.refid)), position);
        self.by_merchant.entry_ref(&order.merchant).or_default().push(position);
        self.places.push(transaction)
    }

    /// The transaction at a position, unless it was forgotten.
    pub fn get(&self, position: Position) -> Option<&Transaction> {
        self.places.get(position.0 as usize)
    }

    /// The transaction at a position, to be changed.
    pub(super) fn get_mut(&mut self, position: Position) -> Option<&mut Transaction> {
        self.places.get_mut(position.0 as usize)
    }

    /// Where the transaction with this tid is.
    pub fn position(&self, tid: &str) -> Option<Position> {
        numbers_of_tid(tid).find_map(|number| self.nth(number, |found| *found.tid == *tid))
    }

    /// Where the payment of this number is, counted from 1, if it is the one that is looked for.
    fn nth(&self, number: u64, is_it: impl Fn(&Transaction) -> bool) -> Option<Position> {
        let position = Position(u32::try_from(number.checked_sub(1)?).ok()?);
        self.get(position).filter(|found| is_it(found)).map(|_| position)
    }

    /// The transaction with this tid, whoever's it is.
    pub fn find(&self, tid: &str) -> Option<&Transaction> {
        self.get(self.position(tid)?)
    }

    /// Where the transaction with this checkout id is.
    pub(super) fn position_by_checkout(&self, id: &str) -> Option<Position> {
        self.nth(self.checkouts.number(id)?, |found| *found.checkout == *id)
    }

    /// The transaction with this checkout id.
    pub fn by_checkout(&self, id: &str) -> Option<&Transaction> {
        self.get(self.position_by_checkout(id)?)
    }

    /// Where the merchant's transaction with this refid is.
    pub fn position_by_refid(&self, merchant: &str, system: System, refid: &str) -> Option<Position> {
        let is_it = |position| {
            let order = self.get(position).map(|found| &found.order);
            order.is_some_and(|order| *order.refid == *refid && *order.merchant == *merchant && order.system == system)
        };
        self.by_refid.find(self.hasher.hash_one((merchant, system, refid)), is_it)
    }

    /// The merchant's transaction with this tid.
    pub fn by_tid(&self, merchant: &str, tid: &str) -> Option<&Transaction> {
        self.find(tid).filter(|found| *found.order.merchant == *merchant)
    }

    /// The merchant's transaction with this refid.
    pub fn by_refid(&self, merchant: &str, system: System, refid: &str) -> Option<&Transaction> {
        self.get(self.position_by_refid(merchant, system, refid)?)
    }

    /// The merchant's transactions with this refid: at most one in each system.
    pub fn of_refid(&self, merchant: &str, refid: &str) -> impl Iterator<Item = &Transaction> {
        System::ALL.into_iter().filter_map(move |system| self.by_refid(merchant, system, refid))
    }

    /// In the order in which they were accepted.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Transaction> {
        (0..self.places.count).filter_map(|place| self.places.get(place))
    }

    /// At most `count` of them, from a place on; forgotten ones leave places empty. For readers that must not look at
    /// all of them at once; places from [`Ledger::places`] on are empty.
    pub fn page(&self, from: usize, count: usize) -> impl Iterator<Item = &Transaction> {
        let end = from.saturating_add(count).min(self.places.count);
        (from..end).filter_map(|place| self.places.get(place))
    }

    /// At most `count` places before `place`, the newest first, each with its transaction where there still is one.
    pub fn newest(&self, place: usize, count: usize) -> impl Iterator<Item = (usize, Option<&Transaction>)> {
        let end = place.min(self.places.count);
        (end.saturating_sub(count)..end).rev().map(|place| (place, self.places.get(place)))
    }

    /// The place of the transaction with this tid, for [`Ledger::newest`].
    pub fn place(&self, tid: &str) -> Option<usize> {
        self.position(tid).map(|position| position.0 as usize)
    }

    /// The number of transactions. Counts segments of 256 places, not places.
    pub fn len(&self) -> usize {
        self.places.segments.iter().flatten().map(|segment| segment.live).sum()
    }

    /// Returns true if there is no transaction.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns true if this merchant has a transaction.
    pub(super) fn has_merchant(&self, merchant: &str) -> bool {
        self.by_merchant.contains_key(merchant)
    }

    /// How many places there are.
    pub fn places(&self) -> usize {
        self.places.count
    }

    /// Forgets a merchant's transactions.
    pub(super) fn forget_merchant(&mut self, merchant: &str) {
        for position in self.by_merchant.remove(merchant).unwrap_or_default() {
            if let Some(forgotten) = self.places.take(position.0 as usize) {
                let order = &forgotten.order;
                let hash = self.hasher.hash_one((&*order.merchant, order.system, &*order.refid));
                self.by_refid.remove(hash, position);
            }
        }
    }
}
