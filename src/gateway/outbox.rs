//! Postbacks from the moment they are due until they come back: in order within a lane, in fair turns between listeners
//! and merchants, and bounded in number.
//!
//! Each postback belongs to a *lane* and takes a *route*. A lane keeps the order: at most one of its postbacks is on its
//! way out, and the others stay behind it. A route is one merchant's way to one listener. Routes take turns, so a listener
//! that does not answer holds up its own postbacks only.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use compact_str::CompactString;

use super::postback::Postback;

/// How many postbacks may be under way to one listener.
pub const LISTENER_LIMIT: usize = 128;
/// How many postbacks of one merchant may be under way, beside the first one to each listener.
pub const MERCHANT_LIMIT: usize = 256;
/// How many postbacks of one merchant may be under way, the first one to each listener included.
pub const MERCHANT_MAXIMUM: usize = 512;
/// How many postbacks may be under way in all.
pub const TOTAL_LIMIT: usize = 2048;

/// One merchant's way to one listener.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Route {
    merchant: Arc<str>,
    listener: CompactString,
}

/// A postback with its place in the order in which all were put in.
#[derive(Debug)]
struct Placed {
    place: u64,
    postback: Postback,
}

/// The order of some postbacks: the first one is waiting or under way, and the others stay behind it.
#[derive(Debug, Default)]
struct Lane {
    under_way: Option<Placed>,
    behind: VecDeque<Placed>,
}

/// The postbacks of one route.
#[derive(Debug, Default)]
struct Queue {
    /// Those that no other one of their lane holds up, in the order of their places.
    waiting: VecDeque<Placed>,
    under_way: usize,
    turn: Turn,
}

/// How a route stands that has postbacks waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Turn {
    /// It has none waiting.
    #[default]
    Idle,
    /// It is among the routes that are ready.
    Ready,
    /// It is parked under this number until a limit leaves room for it.
    Parked(Limit, u64),
}

/// The limits, each with the routes that it holds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Listener,
    Total,
    MerchantMaximum,
    Merchant,
}

/// Routes by the numbers under which they were parked: the first one has waited longest.
type Parked = BTreeMap<u64, Arc<Route>>;

/// What the postbacks of one listener, of one merchant, or all of them share.
#[derive(Debug, Default)]
struct Share {
    under_way: usize,
    parked: Parked,
    /// Routes that have none under way. Used for merchants only.
    parked_at_maximum: Parked,
}

/// Postbacks that are due, and those under way.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Counts worlds: a postback that left in another one does not come back to this one.
    generation: u64,
    /// How many postbacks were put in.
    places: u64,
    /// How many times a route was parked.
    parkings: u64,
    /// How many postbacks have not left.
    waiting: usize,
    lanes: HashMap<CompactString, Lane>,
    queues: HashMap<Arc<Route>, Queue>,
    /// Routes whose next postback may leave, in the order of their turns.
    ready: VecDeque<Arc<Route>>,
    listeners: HashMap<CompactString, Share>,
    merchants: HashMap<Arc<str>, Share>,
    total: Share,
}

impl Outbox {
    /// Returns the empty outbox of the world after this one. What is under way now does not come back to it.
    pub(super) fn of_next_world(&self) -> Outbox {
        Outbox { generation: self.generation + 1, ..Outbox::default() }
    }

    /// Makes this the outbox of the world after another one.
    pub(super) fn become_next_world_of(&mut self, other: &Outbox) {
        self.generation = other.generation + 1;
    }

    /// Takes a postback that is due.
    pub fn put(&mut self, postback: Postback) {
        let placed = Placed { place: self.places, postback };
        self.places += 1;
        self.waiting += 1;
        match self.lanes.get_mut(&placed.postback.lane) {
            Some(lane) => lane.behind.push_back(placed),
            None => {
                self.lanes.insert(placed.postback.lane.clone(), Lane::default());
                self.enqueue(placed);
            }
        }
    }

    /// Returns how many have not left.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns true if `release` has something to do.
    pub fn may_release(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Returns the postbacks that leave now.
    pub fn release(&mut self) -> Vec<Postback> {
        let mut leaving = Vec::new();
        while let Some(route) = self.ready.pop_front() {
            let Some(queue) = self.queues.get_mut(&route) else { continue };
            queue.turn = Turn::Idle;
            if self.full(&route).is_some() {
                // Others have taken the room. What there is beside it goes to the next ones.
                self.offer(Arc::clone(&route));
                self.let_in(&route);
                continue;
            }
            leaving.extend(self.take_next(&route));
            if self.queues.get(&route).is_some_and(|queue| !queue.waiting.is_empty()) {
                self.set_turn(&route, Turn::Ready);
                self.ready.push_back(route);
            }
        }
        leaving
    }

    /// Takes note that a postback came back: the next one of its lane may leave. Returns false if it is not under way,
    /// because it left in another world.
    pub fn take_back(&mut self, postback: &Postback) -> bool {
        let is_it = |placed: &mut Placed| placed.postback.number == postback.number;
        let lane = self.lanes.get_mut(&postback.lane).filter(|_| postback.generation == self.generation);
        let Some(lane) = lane else { return false };
        let Some(placed) = lane.under_way.take_if(is_it) else { return false };
        let next = lane.behind.pop_front();
        if next.is_none() {
            self.lanes.remove(&postback.lane);
        }
        let route = Arc::new(route_of(&placed.postback));
        self.count(&route, |under_way| *under_way -= 1);
        if let Some(next) = next {
            self.enqueue(next);
        }
        let queue = self.queues.get(&route).map_or((Turn::Idle, 0), |queue| (queue.turn, queue.under_way));
        if let (Turn::Parked(Limit::Merchant, number), 0) = queue {
            // It has none under way any more, so that this limit is no longer its own.
            self.parked(Limit::Merchant, &route).remove(&number);
            self.offer(Arc::clone(&route));
        }
        self.let_in(&route);
        self.forget_unused(&route);
        true
    }

    /// Returns how many are under way.
    pub fn under_way(&self) -> usize {
        self.total.under_way
    }

    /// Returns all that have not come back, in the order in which they were put in.
    pub fn all(&self) -> Vec<Postback> {
        let lanes = self.lanes.values().flat_map(|lane| lane.under_way.iter().chain(&lane.behind));
        let mut all: Vec<&Placed> = lanes.chain(self.queues.values().flat_map(|queue| &queue.waiting)).collect();
        all.sort_by_key(|placed| placed.place);
        all.into_iter().map(|placed| placed.postback.clone()).collect()
    }

    /// Drops a merchant's postbacks that have not left.
    pub fn forget_merchant(&mut self, merchant: &str) {
        let mine: Vec<Arc<Route>> =
            self.queues.keys().filter(|route| *route.merchant == *merchant).map(Arc::clone).collect();
        self.ready.retain(|route| *route.merchant != *merchant);
        for route in mine {
            let Some(queue) = self.queues.get_mut(&route) else { continue };
            let (dropped, turn) = (std::mem::take(&mut queue.waiting), std::mem::take(&mut queue.turn));
            if let Turn::Parked(limit, number) = turn {
                self.parked(limit, &route).remove(&number);
            }
            self.waiting -= dropped.len();
            for placed in dropped {
                // It has not left, and so neither has anything behind it.
                let lane = self.lanes.remove(&placed.postback.lane);
                self.waiting -= lane.map_or(0, |lane| lane.behind.len());
            }
            self.let_in(&route);
            self.forget_unused(&route);
        }
        let is_mine = |lane: &&mut Lane| lane.under_way.as_ref().is_some_and(|one| *one.postback.merchant == *merchant);
        for lane in self.lanes.values_mut().filter(is_mine) {
            self.waiting -= std::mem::take(&mut lane.behind).len();
        }
    }

    /// Puts a postback that no other one of its lane holds up into the queue of its route.
    fn enqueue(&mut self, placed: Placed) {
        let route = Arc::new(route_of(&placed.postback));
        let queue = self.queues.entry(Arc::clone(&route)).or_default();
        // One that stayed behind in its lane may be older than those that wait here.
        let at = queue.waiting.partition_point(|other| other.place < placed.place);
        queue.waiting.insert(at, placed);
        if queue.turn == Turn::Idle {
            self.offer(route);
        }
    }

    /// Takes the next postback out of a route's queue and counts it as under way.
    fn take_next(&mut self, route: &Arc<Route>) -> Option<Postback> {
        let placed = self.queues.get_mut(route)?.waiting.pop_front()?;
        self.waiting -= 1;
        self.count(route, |under_way| *under_way += 1);
        let postback = Postback { generation: self.generation, ..placed.postback.clone() };
        if let Some(lane) = self.lanes.get_mut(&postback.lane) {
            lane.under_way = Some(placed);
        }
        Some(postback)
    }

    /// Gives a route a turn, or parks it at the limit that has no room for it.
    fn offer(&mut self, route: Arc<Route>) {
        let turn = match self.full(&route) {
            None => {
                self.ready.push_back(Arc::clone(&route));
                Turn::Ready
            }
            Some(limit) => {
                self.parkings += 1;
                let number = self.parkings;
                self.parked(limit, &route).insert(number, Arc::clone(&route));
                Turn::Parked(limit, number)
            }
        };
        self.set_turn(&route, turn);
    }

    /// Gives a turn to the next routes that wait for room which this route has left or cannot use.
    fn let_in(&mut self, route: &Route) {
        for limit in [Limit::Listener, Limit::Total, Limit::MerchantMaximum, Limit::Merchant] {
            while let Some((number, next)) = self.parked(limit, route).first_key_value() {
                let (number, next) = (*number, Arc::clone(next));
                let full = self.full(&next);
                if full == Some(limit) {
                    break;
                }
                self.parked(limit, route).remove(&number);
                self.offer(next);
                // One that is parked elsewhere now has left the room to the one behind it.
                if full.is_none() {
                    break;
                }
            }
        }
    }

    /// Returns the first limit that has no room for a route's next postback.
    fn full(&self, route: &Route) -> Option<Limit> {
        let listener = self.listeners.get(&route.listener).map_or(0, |share| share.under_way);
        let merchant = self.merchants.get(&route.merchant).map_or(0, |share| share.under_way);
        let own = self.queues.get(route).map_or(0, |queue| queue.under_way);
        if listener >= LISTENER_LIMIT {
            Some(Limit::Listener)
        } else if self.total.under_way >= TOTAL_LIMIT {
            Some(Limit::Total)
        } else if merchant >= MERCHANT_MAXIMUM {
            Some(Limit::MerchantMaximum)
        } else if merchant >= MERCHANT_LIMIT && own > 0 {
            Some(Limit::Merchant)
        } else {
            None
        }
    }

    fn parked(&mut self, limit: Limit, route: &Route) -> &mut Parked {
        match limit {
            Limit::Listener => &mut self.listeners.entry(route.listener.clone()).or_default().parked,
            Limit::Total => &mut self.total.parked,
            Limit::MerchantMaximum => {
                &mut self.merchants.entry(Arc::clone(&route.merchant)).or_default().parked_at_maximum
            }
            Limit::Merchant => &mut self.merchants.entry(Arc::clone(&route.merchant)).or_default().parked,
        }
    }

    fn set_turn(&mut self, route: &Arc<Route>, turn: Turn) {
        self.queues.entry(Arc::clone(route)).or_default().turn = turn;
    }

    /// Changes the counts of postbacks under way that a route's postbacks are part of.
    fn count(&mut self, route: &Arc<Route>, change: impl Fn(&mut usize)) {
        change(&mut self.queues.entry(Arc::clone(route)).or_default().under_way);
        change(&mut self.listeners.entry(route.listener.clone()).or_default().under_way);
        change(&mut self.merchants.entry(Arc::clone(&route.merchant)).or_default().under_way);
        change(&mut self.total.under_way);
    }

    /// Drops the counts of a route that has no postbacks any more.
    fn forget_unused(&mut self, route: &Route) {
        if self.queues.get(route).is_some_and(|queue| queue.under_way == 0 && queue.waiting.is_empty()) {
            self.queues.remove(route);
        }
        if self.listeners.get(&route.listener).is_some_and(|share| !share.is_used()) {
            self.listeners.remove(&route.listener);
        }
        if self.merchants.get(&route.merchant).is_some_and(|share| !share.is_used()) {
            self.merchants.remove(&route.merchant);
        }
    }
}

impl Share {
    fn is_used(&self) -> bool {
        self.under_way > 0 || !self.parked.is_empty() || !self.parked_at_maximum.is_empty()
    }
}

fn route_of(postback: &Postback) -> Route {
    Route { merchant: Arc::clone(&postback.merchant), listener: listener_of(&postback.target) }
}

/// Returns the part of a `returl` that names the listener: scheme, host and port, in small letters. A user and a password
/// name no other listener.
fn listener_of(target: &str) -> CompactString {
    let target = target.trim_start();
    let start = target.find("://").map_or(0, |place| place + 3);
    let end = target[start..].find(['/', '?', '#']).map_or(target.len(), |length| start + length);
    let host = target[start..end].rfind('@').map_or(start, |at| start + at + 1);
    let mut listener = CompactString::from(&target[..start]);
    listener.push_str(&target[host..end]);
    listener.to_ascii_lowercase()
}
