//! Which of a stream's layers a viewer is to be sent.

use std::time::{Duration, Instant};

use whitewater_link::{LAYERS_MAX, LayerState, Selection};

use super::scale::Limit;
use crate::limits;

/// One viewer's choice among the layers of whatever it watches.
#[derive(Debug, Default)]
pub struct Choice {
    /// What the viewer asked for; it stays whoever publishes.
    pub selection: Selection,
    /// Since when a larger layer has fitted.
    fits_since: Option<(u8, Instant)>,
    /// Whether a larger layer was left because the network did not carry it.
    was_too_much: bool,
    /// When it went up last, and whether that was too much before long.
    up_at: Option<Instant>,
    was_too_early: bool,
    /// Since when a faster temporal layer has fitted.
    faster_since: Option<Instant>,
}

/// The layers there are to choose from.
#[derive(Clone, Copy, Debug)]
pub struct Offered<'a> {
    /// Their names; none inside a scalable stream.
    pub rids: &'a [String],
    /// How many there are.
    pub count: usize,
    /// What they carry.
    pub states: &'a [LayerState; LAYERS_MAX],
}

impl Offered<'_> {
    /// The layers from the smallest to the largest.
    pub fn ascending(&self) -> impl IntoIterator<Item = u8> + use<> {
        let order = Order::of(*self);
        order.layers.into_iter().take(order.count)
    }

    /// A layer's place among the others by size, 0 the smallest.
    pub fn spatial_id(&self, layer: u8) -> u8 {
        let rank = Order::of(*self).rank(layer);
        rank.and_then(|rank| u8::try_from(rank).ok()).unwrap_or(0)
    }
}

impl Choice {
    /// The layer to be sent from its next key frame on; `None` while none flows, or where there is
    /// nothing to choose.
    ///
    /// `current` is the one that is sent or waited for, `available_bps` what the way to the viewer
    /// can carry, if anything is known of it.
    pub fn choose(
        &mut self,
        now: Instant,
        offered: Offered<'_>,
        current: Option<u8>,
        available_bps: Option<u64>,
    ) -> Option<u8> {
        let order = Order::of(offered);
        let (allowed, is_named) = self.allowed(offered, &order)?;
        let Some(available) = available_bps.filter(|_| !is_named) else {
            self.fits_since = None;
            return allowed.highest();
        };
        let rate = |layer: u8| {
            let state = offered.states.get(usize::from(layer));
            state.map_or(0, |state| state.bitrate_bps)
        };
        let with_margin =
            |layer| rate(layer).saturating_mul(100 + limits::LAYER_MARGIN_PERCENT) / 100;
        let Some(current) = current.filter(|&layer| allowed.has(layer)) else {
            self.fits_since = None;
            let fitting = allowed.last(|layer| with_margin(layer) <= available);
            return fitting.or(allowed.lowest());
        };
        if rate(current) > available {
            self.fits_since = None;
            self.was_too_much = true;
            let is_recent = |at: Instant| now.saturating_duration_since(at) < limits::LAYER_UP_SOON;
            self.was_too_early = self.up_at.is_some_and(is_recent);
            let fitting = allowed.last(|layer| rate(layer) <= available);
            return fitting.or(allowed.lowest());
        }
        let next = allowed.above(current);
        let Some(next) = next.filter(|&layer| with_margin(layer) <= available) else {
            self.fits_since = None;
            return Some(current);
        };
        if !self.was_too_much {
            // It was not the network that the larger one was left for.
            self.fits_since = None;
            return Some(next);
        }
        let since = match self.fits_since {
            Some((layer, since)) if layer == next => since,
            _ => now,
        };
        let fitted_for = now.saturating_duration_since(since);
        let has_ample_room = rate(next).saturating_mul(2) <= available;
        let patience = match self.was_too_early && !has_ample_room {
            true => limits::LAYER_UP_AGAIN_AFTER,
            false => limits::LAYER_UP_AFTER,
        };
        if fitted_for >= patience {
            self.fits_since = None;
            self.up_at = Some(now);
            self.was_too_much = allowed.highest() != Some(next);
            return Some(next);
        }
        self.fits_since = Some((next, since));
        Some(current)
    }

    /// What is to be sent of a stream with simulcast: the layer from its next key frame on, as
    /// [`choose`](Self::choose) has it, and of that the fastest temporal layer. Where not even the smallest
    /// that is asked for is carried whole, pictures of it are left out.
    ///
    /// `current` is what was chosen before.
    pub fn among(
        &mut self,
        now: Instant,
        offered: Offered<'_>,
        current: (Option<u8>, Limit),
        available_bps: Option<u64>,
    ) -> (Option<u8>, Limit) {
        let chosen = self.choose(now, offered, current.0, available_bps);
        let allowed = self.allowed(offered, &Order::of(offered));
        let lowest = allowed.and_then(|(allowed, _)| allowed.lowest());
        let is_lowest = chosen.is_some() && chosen == lowest;
        let state = chosen.and_then(|layer| offered.states.get(usize::from(layer)));
        let temporal = match state.filter(|_| is_lowest && !self.is_exact()) {
            Some(state) => self.temporal(now, state, current.1.temporal, available_bps),
            None => {
                self.faster_since = None;
                self.temporal_wanted()
            }
        };
        let limit = Limit {
            temporal,
            ..Limit::NONE
        };
        (chosen, limit)
    }

    /// The layers to be sent of a stream without simulcast, which may be scalable: the largest spatial
    /// one, and the fastest temporal one.
    pub fn limit(
        &mut self,
        now: Instant,
        states: &[LayerState; LAYERS_MAX],
        current: Limit,
        available_bps: Option<u64>,
    ) -> Limit {
        let count = states.iter().filter(|state| state.is_active).count();
        let offered = Offered {
            rids: &[],
            count,
            states,
        };
        let top = count.checked_sub(1).and_then(|top| u8::try_from(top).ok());
        let spatial = if count > 1 {
            let current = top.map(|top| current.spatial.min(top));
            let chosen = self.choose(now, offered, current, available_bps);
            // All there are, and any that come.
            chosen.filter(|chosen| top != Some(*chosen))
        } else {
            None
        };
        let sent = states.get(usize::from(spatial.or(top).unwrap_or(0)));
        let is_lowest = count < 2 || spatial == Some(0);
        let temporal = match sent.filter(|_| is_lowest && !self.is_exact()) {
            Some(state) => self.temporal(now, state, current.temporal, available_bps),
            None => self.temporal_wanted(),
        };
        Limit {
            spatial: spatial.unwrap_or(u8::MAX),
            temporal,
        }
    }

    /// The fastest temporal layer that was asked for; all where none was.
    fn temporal_wanted(&self) -> u8 {
        let wanted = &self.selection;
        let asked = wanted.temporal_id.into_iter().chain(wanted.temporal_id_max);
        let temporal = asked.min();
        temporal.map_or(u8::MAX, |id| u8::try_from(id).unwrap_or(u8::MAX))
    }

    /// The fastest temporal layer that was asked for and is carried: slower at once, faster step by step
    /// once it has fitted for a while.
    fn temporal(
        &mut self,
        now: Instant,
        state: &LayerState,
        current: u8,
        available_bps: Option<u64>,
    ) -> u8 {
        let wanted = self.temporal_wanted();
        let fastest = state.temporal_count.saturating_sub(1).min(wanted);
        let Some(available) = available_bps.filter(|_| fastest > 0) else {
            self.faster_since = None;
            return wanted;
        };
        let rate = |temporal: u8| {
            let percent = state.temporal_percent.get(usize::from(temporal));
            state.bitrate_bps * u64::from(percent.copied().unwrap_or(100)) / 100
        };
        let current = current.min(fastest);
        if rate(current) > available {
            self.faster_since = None;
            let fitting = (0..current).rev().find(|&slower| rate(slower) <= available);
            return fitting.unwrap_or(0);
        }
        if current == fastest {
            self.faster_since = None;
            return wanted;
        }
        if rate(current + 1) * (100 + limits::LAYER_MARGIN_PERCENT) / 100 > available {
            self.faster_since = None;
            return current;
        }
        let since = *self.faster_since.get_or_insert(now);
        if now.saturating_duration_since(since) < limits::LAYER_UP_AFTER {
            return current;
        }
        self.faster_since = None;
        match current + 1 == fastest {
            true => wanted,
            false => current + 1,
        }
    }

    /// Whether one layer is named, whatever the network carries.
    fn is_exact(&self) -> bool {
        self.selection.rid.is_some() || self.selection.spatial_id.is_some()
    }

    /// The layers that flow and are asked for, lowest first, and whether by name; where none of
    /// those asked for flows, the next lower one that does, else the next higher one.
    fn allowed(&self, offered: Offered<'_>, order: &Order) -> Option<(Order, bool)> {
        let state = |layer: u8| offered.states.get(usize::from(layer));
        let flows = |layer: u8| state(layer).is_some_and(|state| state.is_active);
        let active = order.filtered(|_, layer| flows(layer));
        active.lowest()?;
        let is_wanted = |rank: usize, layer: u8| {
            let wanted = &self.selection;
            let rank = u32::try_from(rank).unwrap_or(u32::MAX);
            let name = offered.rids.get(usize::from(layer));
            let within =
                |max: Option<u32>, found: u16| max.is_none_or(|max| u32::from(found) <= max);
            wanted.rid.as_ref().is_none_or(|rid| name == Some(rid))
                && wanted.spatial_id.is_none_or(|id| id == rank)
                && wanted.spatial_id_max.is_none_or(|max| rank <= max)
                && state(layer).is_some_and(|state| {
                    within(wanted.width_max, state.width) && within(wanted.height_max, state.height)
                })
        };
        let mut wanted = order.filtered(is_wanted);
        if wanted.lowest().is_none() && !self.is_exact() {
            // All are larger than asked for: the smallest comes nearest.
            wanted = order.filtered(|rank, _| rank == 0);
        }
        let Some(lowest) = wanted.lowest() else {
            // A later publisher without that layer: the choice is the server's.
            return Some((active, false));
        };
        let both = wanted.filtered(|_, layer| flows(layer));
        if both.lowest().is_some() {
            return Some((both, self.is_exact()));
        }
        let place = order.rank(lowest)?;
        let below = active.last(|layer| order.rank(layer).is_some_and(|rank| rank < place));
        let nearest = below.or(active.lowest())?;
        Some((active.filtered(|_, layer| layer == nearest), true))
    }
}

/// Layers from the smallest to the largest.
#[derive(Clone, Copy, Debug)]
struct Order {
    layers: [u8; LAYERS_MAX],
    count: usize,
}

impl Order {
    /// By the size of the picture where all that flow have told theirs, else by bit rate; among
    /// equals the offer's order counts, the most wanted first (RFC 8853 §5.2).
    fn of(offered: Offered<'_>) -> Self {
        let count = offered.count.min(LAYERS_MAX);
        let states = offered.states.get(..count).unwrap_or_default();
        let sized = states
            .iter()
            .all(|state| !state.is_active || state.area() > 0);
        let mut layers: [u8; LAYERS_MAX] = std::array::from_fn(|index| index as u8);
        let key = |&layer: &u8| {
            let state = states.get(usize::from(layer)).copied().unwrap_or_default();
            let area = if sized { state.area() } else { 0 };
            (area, state.bitrate_bps, std::cmp::Reverse(layer))
        };
        if let Some(known) = layers.get_mut(..count) {
            known.sort_unstable_by_key(key);
        }
        Order { layers, count }
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = (usize, u8)> + '_ {
        self.layers.iter().copied().enumerate().take(self.count)
    }

    fn filtered(&self, keep: impl Fn(usize, u8) -> bool) -> Order {
        let mut kept = Order {
            layers: [0; LAYERS_MAX],
            count: 0,
        };
        for (_, layer) in self.iter().filter(|&(rank, layer)| keep(rank, layer)) {
            if let Some(place) = kept.layers.get_mut(kept.count) {
                *place = layer;
                kept.count += 1;
            }
        }
        kept
    }

    fn lowest(&self) -> Option<u8> {
        self.iter().next().map(|(_, layer)| layer)
    }

    fn highest(&self) -> Option<u8> {
        self.iter().next_back().map(|(_, layer)| layer)
    }

    fn last(&self, which: impl Fn(u8) -> bool) -> Option<u8> {
        let mut layers = self.iter().rev().map(|(_, layer)| layer);
        layers.find(|&layer| which(layer))
    }

    fn above(&self, layer: u8) -> Option<u8> {
        let mut from = self.iter().skip_while(|&(_, known)| known != layer);
        from.nth(1).map(|(_, layer)| layer)
    }

    fn rank(&self, layer: u8) -> Option<usize> {
        let found = self.iter().find(|&(_, known)| known == layer);
        found.map(|(rank, _)| rank)
    }

    fn has(&self, layer: u8) -> bool {
        self.rank(layer).is_some()
    }
}

/// What a viewer says that it can receive (REMB), as far as it means anything.
///
/// The receiver estimates by what it is sent: that it names little may mean that it gets little.
/// Only a fall tells of a limit. It is believed for a while, then forgotten so that more is tried,
/// each time later if that fails at once.
#[derive(Debug, Default)]
pub struct Remb {
    last: u64,
    limit: Option<Fall>,
    forgotten_at: Option<Instant>,
    patience: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Fall {
    bps: u64,
    at: Instant,
}

impl Remb {
    /// A message came.
    pub fn said(&mut self, now: Instant, bps: u64) {
        // Values waver by a few percent while nothing happens.
        let fell = bps < self.last - self.last / 16;
        self.last = bps;
        match &mut self.limit {
            Some(fall) => {
                fall.bps = bps;
                if fell {
                    fall.at = now;
                }
            }
            None if fell => {
                let tried = self
                    .forgotten_at
                    .map(|at| now.saturating_duration_since(at));
                let failed = tried.is_some_and(|span| span < limits::REMB_BELIEVED_FOR);
                let longer = self.patience.filter(|_| failed).map(|known| known * 2);
                let patience = longer.unwrap_or(limits::REMB_BELIEVED_FOR);
                self.patience = Some(patience.min(limits::REMB_BELIEVED_FOR_MAX));
                self.limit = Some(Fall { bps, at: now });
            }
            None => {}
        }
    }

    /// What is believed now; `None` while nothing limits.
    pub fn limit(&mut self, now: Instant) -> Option<u64> {
        let fall = self.limit?;
        let patience = self.patience.unwrap_or(limits::REMB_BELIEVED_FOR);
        if now.saturating_duration_since(fall.at) < patience {
            return Some(fall.bps);
        }
        self.limit = None;
        self.forgotten_at = Some(now);
        None
    }
}

#[cfg(test)]
mod tests;
