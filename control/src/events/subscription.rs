//! One event stream: what its player has been told, and what waits for its poll.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use whitewater_link::{Epoch, Loudness};
use whitewater_model::{Layer, Scene};

use super::kind::{Kind, Wanted};

/// One event stream of a viewer's session.
pub(crate) struct Subscription {
    wanted: Wanted,
    /// The m-line of the viewer's video.
    line: Option<u16>,
    state: Mutex<State>,
    news: Notify,
}

struct State {
    /// Events not older than the last [`KEPT_MAX`], by number: delivered ones for a poll that was
    /// cut off, the others for the next poll.
    kept: VecDeque<Event>,
    serial: u64,
    /// The number of the next event to deliver.
    next: u64,
    /// Counts the polls: a new one ends the one before.
    poll: u64,
    over: bool,
    publication: Option<Epoch>,
    viewers: Option<(usize, Instant)>,
    layers: Option<(Vec<Layer>, Instant)>,
    /// Whether the publisher was said to speak.
    speaking: Option<bool>,
    level: Option<(i8, Instant)>,
}

struct Event {
    id: u64,
    kind: Kind,
    text: Bytes,
}

/// What a poll finds.
pub(super) enum Next {
    Event(Bytes),
    /// Nothing yet.
    Wait,
    /// Another poll took over, or the stream is over.
    Over,
}

impl Subscription {
    pub(super) fn new(wanted: Wanted, line: Option<u16>) -> Self {
        Subscription {
            wanted,
            line,
            state: Mutex::new(State {
                kept: VecDeque::new(),
                serial: 0,
                next: 1,
                poll: 0,
                over: false,
                publication: None,
                viewers: None,
                layers: None,
                speaking: None,
                level: None,
            }),
            news: Notify::new(),
        }
    }

    /// Queues what is new about the stream.
    pub(super) fn look(&self, scene: &Scene, at: Instant) {
        let mut state = self.state();
        let before = state.publication;
        if before != scene.publication {
            state.publication = scene.publication;
            // None before the first publication: there is nothing to be told then.
            if before.is_some() {
                self.queue(&mut state, Kind::Inactive, &json!({}));
            }
            if scene.publication.is_some() {
                self.queue(&mut state, Kind::Active, &json!({}));
            }
        }
        let told = state.viewers;
        let due = told.is_none_or(|(count, when)| {
            count != scene.viewer_count && at.saturating_duration_since(when) >= COUNT_GAP
        });
        if due {
            state.viewers = Some((scene.viewer_count, at));
            let data = json!({ "viewercount": scene.viewer_count });
            self.queue(&mut state, Kind::ViewerCount, &data);
        }
        if state.layers_are_due(&scene.layers, at) {
            state.layers = Some((scene.layers.clone(), at));
            let data = self.layers(&scene.layers);
            self.queue(&mut state, Kind::Layers, &data);
        }
        if let Some(loudness) = scene.loudness {
            self.loudness(&mut state, loudness, at);
        }
        drop(state);
        self.news.notify_waiters();
    }

    /// Queues how loud the publisher is: the change from speech to silence at once, levels now and
    /// then.
    fn loudness(&self, state: &mut State, loudness: Loudness, at: Instant) {
        let Loudness {
            level_dbov,
            is_speaking,
        } = loudness;
        if state.speaking != Some(is_speaking) {
            state.speaking = Some(is_speaking);
            let data = json!({ "speaking": is_speaking, "level": level_dbov });
            self.queue(state, Kind::Speaking, &data);
        }
        let told = state.level;
        let due = told.is_none_or(|(level, when)| {
            level != level_dbov && at.saturating_duration_since(when) >= LEVEL_GAP
        });
        if due {
            state.level = Some((level_dbov, at));
            self.queue(state, Kind::Level, &json!({ "level": level_dbov }));
        }
    }

    /// Asks the player to come again, to `url` if there is one.
    pub(super) fn reconnect(&self, url: Option<&str>) {
        let mut state = self.state();
        let data = url.map_or_else(|| json!({}), |url| json!({ "url": url }));
        self.queue(&mut state, Kind::Reconnect, &data);
        drop(state);
        self.news.notify_waiters();
    }

    /// Whether its player asked for events of this type.
    pub(super) fn hears(&self, kind: Kind) -> bool {
        self.wanted.has(kind)
    }

    /// Drops what waits; its poll ends.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.over = true;
        state.kept.clear();
        drop(state);
        self.news.notify_waiters();
    }

    /// A poll begins: at the event after `last`, if the player says which it had, else at the first
    /// that was not delivered.
    pub(super) fn begin(&self, last: Option<u64>) -> u64 {
        let mut state = self.state();
        if let Some(last) = last
            && last < state.next
        {
            state.next = last + 1;
        }
        state.poll += 1;
        let poll = state.poll;
        drop(state);
        self.news.notify_waiters();
        poll
    }

    /// The next event for this poll.
    pub(super) fn take(&self, poll: u64) -> Next {
        let mut state = self.state();
        if state.over || state.poll != poll {
            return Next::Over;
        }
        let next = state.next;
        let Some((id, text)) = state
            .kept
            .iter()
            .find(|event| event.id >= next)
            .map(|event| (event.id, event.text.clone()))
        else {
            return Next::Wait;
        };
        state.next = id + 1;
        Next::Event(text)
    }

    pub(super) fn news(&self) -> &Notify {
        &self.news
    }

    fn queue(&self, state: &mut State, kind: Kind, data: &Value) {
        if !self.wanted.has(kind) {
            return;
        }
        if kind.is_state() {
            let next = state.next;
            state
                .kept
                .retain(|event| event.kind != kind || event.id < next);
        }
        if state.kept.len() >= KEPT_MAX {
            state.kept.pop_front();
        }
        state.serial += 1;
        let id = state.serial;
        // One data line: JSON has no line breaks of its own.
        let text = format!("event: {}\nid: {id}\ndata: {data}\n\n", kind.as_str());
        state.kept.push_back(Event {
            id,
            kind,
            text: text.into(),
        });
    }

    /// By m-line: a viewer without video has none.
    fn layers(&self, layers: &[Layer]) -> Value {
        let mut lines = Map::new();
        if let Some(line) = self.line {
            lines.insert(line.to_string(), layers.iter().map(layer).collect());
        }
        lines.into()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// At once where the layers are others or one became active or inactive; numbers alone now and
    /// then. Nothing is said before there is a layer.
    fn layers_are_due(&self, layers: &[Layer], at: Instant) -> bool {
        let Some((told, when)) = &self.layers else {
            return !layers.is_empty();
        };
        let shape = |layer: &Layer| Layer {
            bitrate_bps: u64::from(layer.bitrate_bps > 0),
            ..layer.clone()
        };
        let changed = !told.iter().map(shape).eq(layers.iter().map(shape));
        changed || (told != layers && at.saturating_duration_since(*when) >= BITRATE_GAP)
    }
}

fn layer(layer: &Layer) -> Value {
    let mut members = Map::new();
    if let Some(rid) = &layer.rid {
        members.insert("rid".to_owned(), json!(rid));
    }
    members.insert("spatialLayerId".to_owned(), json!(layer.spatial_id));
    members.insert("temporalLayerId".to_owned(), json!(layer.temporal_id));
    members.insert("bitrate".to_owned(), json!(layer.bitrate_bps));
    for (name, size) in [("width", layer.width), ("height", layer.height)] {
        if let Some(size) = size {
            members.insert(name.to_owned(), json!(size));
        }
    }
    members.into()
}

/// Events kept for one player: a minute of a stream that comes and goes every two seconds.
const KEPT_MAX: usize = 64;
/// The least time between two counts.
const COUNT_GAP: Duration = Duration::from_secs(1);
/// The least time between two levels.
const LEVEL_GAP: Duration = Duration::from_millis(250);
/// The least time between two bit rates of the same layers.
const BITRATE_GAP: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(publication: Option<u64>, viewer_count: usize) -> Scene {
        Scene {
            publication: publication.map(Epoch),
            viewer_count,
            layers: Vec::new(),
            loudness: None,
        }
    }

    fn texts(subscription: &Subscription, poll: u64) -> Vec<String> {
        let mut texts = Vec::new();
        while let Next::Event(text) = subscription.take(poll) {
            let text = String::from_utf8(text.into()).expect("text");
            let (first, _) = text.split_once('\n').expect("lines");
            texts.push(first.trim_start_matches("event: ").to_owned());
        }
        texts
    }

    #[test]
    fn what_happened_between_two_polls_is_delivered_in_order() {
        let subscription = Subscription::new(Wanted::all(), Some(0));
        let at = Instant::now();
        for publication in [None, Some(1), None, Some(2), Some(3)] {
            subscription.look(&scene(publication, 1), at);
        }
        let poll = subscription.begin(None);
        let all = texts(&subscription, poll);
        let expected = [
            "viewercount",
            "active",
            "inactive",
            "active",
            "inactive",
            "active",
        ];
        assert_eq!(all, expected);
        assert!(matches!(subscription.take(poll), Next::Wait));
        // One that was cut off asks again for what it lost.
        let again = subscription.begin(Some(4));
        assert_eq!(texts(&subscription, again), ["inactive", "active"]);
        assert!(matches!(subscription.take(poll), Next::Over), "taken over");
    }

    #[test]
    fn a_queue_nobody_reads_is_bounded_and_states_count_once() {
        let subscription = Subscription::new(Wanted::all(), Some(0));
        let start = Instant::now();
        for number in 0..1000_u64 {
            let at = start + Duration::from_secs(number);
            subscription.look(&scene(Some(number), number as usize), at);
        }
        let poll = subscription.begin(None);
        let all = texts(&subscription, poll);
        assert_eq!(all.len(), KEPT_MAX);
        let counts = all.iter().filter(|name| *name == "viewercount").count();
        assert_eq!(counts, 1, "the newest only");
    }

    #[test]
    fn who_speaks_is_told_at_once_and_levels_four_times_a_second_to_who_asks_for_them() {
        let named = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let wanted = Wanted::read(&names).expect("known");
            Subscription::new(wanted, Some(0))
        };
        let levels = named(&["level"]);
        let usual = Subscription::new(Wanted::all(), Some(0));
        let start = Instant::now();
        let mut heard = Vec::new();
        let (poll, usual_poll) = (levels.begin(None), usual.begin(None));
        for step in 0..20_u8 {
            let loudness = Loudness {
                level_dbov: -60 + step as i8,
                is_speaking: step >= 10,
            };
            let scene = Scene {
                loudness: Some(loudness),
                ..scene(Some(1), 1)
            };
            let at = start + Duration::from_millis(100) * step.into();
            levels.look(&scene, at);
            usual.look(&scene, at);
            heard.extend(texts(&levels, poll));
        }
        // At 0, 300, 600 ms and so on.
        assert_eq!(heard, ["level"; 7]);
        assert_eq!(
            texts(&usual, usual_poll),
            ["active", "viewercount", "speaking"]
        );
    }

    #[test]
    fn an_event_id_of_the_future_is_not_believed() {
        let subscription = Subscription::new(Wanted::all(), Some(0));
        subscription.look(&scene(Some(1), 1), Instant::now());
        let poll = subscription.begin(Some(u64::MAX));
        assert_eq!(texts(&subscription, poll), ["active", "viewercount"]);
    }
}
