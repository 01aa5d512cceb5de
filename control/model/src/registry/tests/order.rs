//! Any order of anything against a second bookkeeping.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Anything that can happen, in any order. Numbers choose among what exists.
#[derive(Clone, Debug)]
enum Op {
    Create(u8),
    Destroy(u8),
    Admit(bool, u8),
    Answer(u8),
    Refuse(u8),
    Abandon(u8),
    Delete(u8),
    PeerClosed(u8),
    ConfirmClose(u8),
    State(u8, u8),
    Silent(u8, bool),
    Mute(u8, bool),
    Report(u8, u16),
    Drain(u16),
    Stay,
    Pass(u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => (0..3_u8).prop_map(Op::Create),
        1 => (0..3_u8).prop_map(Op::Destroy),
        6 => (any::<bool>(), 0..3_u8).prop_map(|(publish, stream)| Op::Admit(publish, stream)),
        6 => any::<u8>().prop_map(Op::Answer),
        2 => any::<u8>().prop_map(Op::Refuse),
        1 => any::<u8>().prop_map(Op::Abandon),
        2 => any::<u8>().prop_map(Op::Delete),
        2 => any::<u8>().prop_map(Op::PeerClosed),
        3 => any::<u8>().prop_map(Op::ConfirmClose),
        2 => (any::<u8>(), 0..5_u8).prop_map(|(pick, state)| Op::State(pick, state)),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(pick, silent)| Op::Silent(pick, silent)),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(pick, muted)| Op::Mute(pick, muted)),
        1 => (any::<u8>(), any::<u16>()).prop_map(|(pick, bytes)| Op::Report(pick, bytes)),
        1 => (0..9000_u16).prop_map(Op::Drain),
        1 => Just(Op::Stay),
        3 => (0..7000_u16).prop_map(Op::Pass),
    ]
}

/// What the operations did, kept apart from the registry.
#[derive(Default)]
struct Books {
    /// Asked of the data plane and not yet answered, also when control has given up.
    asked: BTreeMap<SessionId, (Side, usize)>,
    /// Alive in the data plane.
    alive: BTreeMap<SessionId, (Side, usize)>,
    /// Told to close.
    told: BTreeSet<SessionId>,
}

fn pick<T: Copy>(from: impl ExactSizeIterator<Item = T>, number: u8) -> Option<T> {
    let len = from.len();
    let mut from = from;
    from.nth(usize::from(number).checked_rem(len)?)
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn apply(world: &mut World, books: &mut Books, op: &Op) {
    let now = world.now();
    let alive = |books: &Books, number| pick(books.alive.iter(), number).map(|(id, at)| (*id, *at));
    match *op {
        Op::Create(stream) => {
            let _ = world
                .registry
                .create_stream(&name(NAMES[usize::from(stream)]), now);
        }
        Op::Destroy(stream) => {
            let _ = world
                .registry
                .destroy_stream(&name(NAMES[usize::from(stream)]), now);
        }
        Op::Admit(publish, stream) => {
            let side = if publish { Publish } else { Subscribe };
            let stream = usize::from(stream);
            if let Ok(id) = world.admit(side, NAMES[stream]) {
                books.asked.insert(id, (side, stream));
            }
        }
        Op::Answer(number) => {
            if let Some(id) = pick(books.asked.keys(), number).copied() {
                let at = books.asked.remove(&id).expect("just seen");
                books.alive.insert(id, at);
                world.answer(id);
            }
        }
        Op::Refuse(number) => {
            if let Some(id) = pick(books.asked.keys(), number).copied() {
                books.asked.remove(&id);
                world.registry.refused(id, now);
            }
        }
        Op::Abandon(number) => {
            if let Some(id) = pick(books.asked.keys(), number).copied() {
                world.registry.abandon(id, now);
            }
        }
        Op::Delete(number) => {
            if let Some((id, (_, stream))) = alive(books, number) {
                let _ = world.delete(NAMES[stream], id);
            }
        }
        Op::PeerClosed(number) => {
            if let Some((id, _)) = alive(books, number) {
                books.alive.remove(&id);
                books.told.remove(&id);
                world.closed(id, CloseReason::PeerClosed);
            }
        }
        Op::ConfirmClose(number) => {
            if let Some(id) = pick(books.told.iter(), number).copied() {
                books.told.remove(&id);
                books.alive.remove(&id);
                world.closed(id, CloseReason::Deleted);
            }
        }
        Op::State(number, state) => {
            let states = [
                SessionState::New,
                SessionState::Connecting,
                SessionState::Connected,
                SessionState::Disconnected,
                SessionState::Failed,
            ];
            if let Some((id, _)) = alive(books, number) {
                world.state(id, states[usize::from(state)]);
            }
        }
        Op::Silent(number, silent) => {
            if let Some((id, _)) = alive(books, number) {
                world.registry.publisher_silent(id, silent, now);
            }
        }
        Op::Mute(number, muted) => {
            if let Some((id, (_, stream))) = alive(books, number) {
                let stream = name(NAMES[stream]);
                let owner = Principal::Anonymous;
                let _ = world
                    .registry
                    .mute(&stream, id, &owner, MediaKind::Audio, muted);
            }
        }
        Op::Report(number, bytes) => {
            if let Some((id, _)) = alive(books, number) {
                world.report(id, u64::from(bytes));
            }
        }
        Op::Drain(millis) => {
            let patience = Duration::from_millis(u64::from(millis));
            world
                .registry
                .begin_drain(Purpose::Maintenance, patience, now);
        }
        Op::Stay => drop(world.registry.cancel_drain()),
        Op::Pass(millis) => world.pass(u64::from(millis)),
    }
}

/// Does what the data plane would do with the commands: destroying ends what belongs to the
/// stream, and everything it ends is confirmed later.
fn obey(world: &mut World, books: &mut Books) {
    for command in world.commands() {
        match command {
            Command::Session {
                session,
                command: SessionCommand::Close { .. },
                ..
            } if books.alive.contains_key(&session) => {
                books.told.insert(session);
            }
            Command::DestroyStream { .. } => {
                let registry = &world.registry;
                let gone = books
                    .alive
                    .keys()
                    .filter(|id| !registry.sessions.contains_key(id));
                books.told.extend(gone.copied());
            }
            _ => {}
        }
    }
}

fn check(world: &World, books: &Books) {
    let now = world.now();
    let views = world.registry.streams(now);
    let counts = world.registry.counts();
    let mut listed = BTreeSet::new();
    let mut publishers = 0;
    for view in &views {
        assert!(view.publish.sessions.len() <= 1, "never two publishers");
        publishers += view.publish.sessions.len();
        for (side, seen) in [(Publish, &view.publish), (Subscribe, &view.subscribe)] {
            let occupied = !seen.sessions.is_empty();
            assert!(!occupied || seen.left_unix_ms == 0, "0 while occupied");
            assert!(seen.left_unix_ms <= now.unix_ms);
            for session in &seen.sessions {
                let at = books
                    .alive
                    .get(&session.id)
                    .expect("listed sessions are alive");
                assert_eq!((at.0, NAMES[at.1]), (side, view.name.as_str()));
                assert!(
                    !books.told.contains(&session.id),
                    "a closed one is not listed"
                );
                assert!(listed.insert(session.id), "listed once");
            }
        }
        let empty = view.subscribe.sessions.is_empty();
        assert!(!empty || view.subscribe.left_unix_ms >= view.created_unix_ms);
        assert!(view.tracks.is_empty() || !view.publish.sessions.is_empty());
    }
    // What lives and was not told to close is listed: nothing lives on unseen.
    for id in books.alive.keys().filter(|id| !books.told.contains(id)) {
        assert!(listed.contains(id), "{id:?} lives unseen");
    }
    assert_eq!(counts.streams, views.len());
    assert_eq!(counts.publishers, publishers);
    assert_eq!(counts.viewers, listed.len() - publishers);
    assert!(counts.pending <= books.asked.len());
    let live = world.registry.sessions.values();
    let unconnected = live.filter(|session| !session.ever_connected).count();
    assert_eq!(counts.unconnected, unconnected);
    let half_open = counts.pending + unconnected;
    assert_eq!(world.registry.charged(), (half_open, half_open as u32));
}

proptest! {
    #[test]
    fn the_books_agree_whatever_happens(
        ops in proptest::collection::vec(op(), 0..120),
        takeover in prop_oneof![
            Just(Takeover::Never), Just(Takeover::Silent), Just(Takeover::Always)
        ],
    ) {
        let mut world = World::new(Policy {
            takeover,
            each_stream_max_sub: 3,
            sessions_max: 12,
            half_open_max: 5,
            ..Policy::default()
        });
        let mut books = Books::default();
        for op in &ops {
            apply(&mut world, &mut books, op);
            obey(&mut world, &mut books);
            check(&world, &books);
        }
        // Everybody goes: nothing is left behind.
        for stream in NAMES {
            let now = world.now();
            let _ = world.registry.destroy_stream(&name(stream), now);
        }
        for id in std::mem::take(&mut books.asked).into_keys() {
            world.answer(id);
            books.alive.insert(id, (Subscribe, 0));
        }
        obey(&mut world, &mut books);
        prop_assert_eq!(books.told.len(), books.alive.len(), "all were told to close");
        for id in books.alive.into_keys() {
            world.closed(id, CloseReason::Deleted);
        }
        prop_assert_eq!(world.registry.counts(), Counts::default());
        prop_assert!(world.registry.streams(world.now()).is_empty());
        prop_assert!(world.registry.pending.is_empty() && world.registry.names.is_empty());
    }
}
