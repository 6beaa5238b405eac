//! What is due when. Ties at one instant are settled by the order in which they were put down.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::timestamp::Timestamp;

/// Entries ordered by moment, then by number.
#[derive(Debug)]
pub struct Agenda<T> {
    entries: BTreeMap<(Timestamp, u64), T>,
    next_number: u64,
}

/// The place of an entry among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// When it is due.
    pub at: Timestamp,
    number: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Agenda { entries: BTreeMap::new(), next_number: 0 }
    }
}

impl<T> Agenda<T> {
    /// Puts `entry` down for `at`.
    pub fn put(&mut self, at: Timestamp, entry: T) {
        self.entries.insert((at, self.next_number), entry);
        self.next_number += 1;
    }

    /// The first entry due at or before `now`, with its moment.
    pub fn take(&mut self, now: Timestamp) -> Option<(Timestamp, T)> {
        let first = self.entries.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((at, _), entry) = first.remove_entry();
        Some((at, entry))
    }

    /// When the first entry is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    /// All entries with their moments, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, &T)> {
        self.entries.iter().map(|((at, _), entry)| (*at, entry))
    }

    /// At most `count` entries after a place, each with its place. For readers that must not look at all of them at once.
    pub fn page(&self, after: Option<Place>, count: usize) -> impl Iterator<Item = (Place, &T)> {
        let from = after.map_or(Bound::Unbounded, |place| Bound::Excluded((place.at, place.number)));
        let page = self.entries.range((from, Bound::Unbounded)).take(count);
        page.map(|((at, number), entry)| (Place { at: *at, number: *number }, entry))
    }

    /// Keeps only the entries that `keep` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.entries.retain(|_, entry| keep(entry));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
