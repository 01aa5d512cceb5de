//! Layers chosen by wish, by what flows and by what the network carries.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn state(width: u16, kbps: u64) -> LayerState {
    LayerState {
        is_active: kbps > 0,
        bitrate_bps: kbps * 1_000,
        width,
        height: width / 16 * 9,
        frames_per_second: 30,
        temporal_count: 0,
        temporal_percent: [0; LAYERS_MAX],
    }
}

struct Stage {
    rids: Vec<String>,
    states: [LayerState; LAYERS_MAX],
    choice: Choice,
    now: Instant,
}

impl Stage {
    /// High, middle, low: the order of an offer says nothing about size.
    fn new() -> Self {
        Stage {
            rids: ["h", "m", "l"].map(str::to_owned).to_vec(),
            states: [
                state(1280, 2_500),
                state(640, 500),
                state(320, 150),
                LayerState::default(),
            ],
            choice: Choice::default(),
            now: Instant::now(),
        }
    }

    fn choose(&mut self, current: Option<u8>, kbps: Option<u64>) -> Option<u8> {
        let offered = Offered {
            rids: &self.rids,
            count: self.rids.len(),
            states: &self.states,
        };
        let available = kbps.map(|kbps| kbps * 1_000);
        self.choice.choose(self.now, offered, current, available)
    }

    fn select(&mut self, selection: Selection) {
        self.choice.selection = selection;
    }
}

fn rid(rid: &str) -> Selection {
    Selection {
        rid: Some(rid.to_owned()),
        ..Selection::default()
    }
}

const H: Option<u8> = Some(0);
const M: Option<u8> = Some(1);
const L: Option<u8> = Some(2);

#[test]
fn without_a_limit_the_largest_that_flows_is_sent() {
    let mut stage = Stage::new();
    assert_eq!(stage.choose(None, None), H);
    stage.states[0].is_active = false;
    assert_eq!(stage.choose(H, None), M);
    stage.states = [LayerState::default(); LAYERS_MAX];
    assert_eq!(stage.choose(M, None), None, "nothing flows");
    stage.rids.clear();
    assert_eq!(stage.choose(None, None), None, "nothing to choose");
}

#[test]
fn sizes_count_before_rates_where_they_are_known() {
    let mut stage = Stage::new();
    // A still picture in full size against a lively small one.
    stage.states[0].bitrate_bps = 100_000;
    assert_eq!(stage.choose(None, None), H);
    stage.states[1].width = 0;
    assert_eq!(
        stage.choose(None, None),
        M,
        "by rate, as one size is unknown"
    );
}

#[test]
fn a_limit_takes_the_viewer_down_at_once_and_up_after_a_while_with_something_to_spare() {
    let mut stage = Stage::new();
    assert_eq!(
        stage.choose(None, Some(2_600)),
        M,
        "no margin for h at the start"
    );
    assert_eq!(stage.choose(H, Some(2_600)), H, "what fits stays");
    assert_eq!(stage.choose(H, Some(2_400)), M);
    assert_eq!(stage.choose(H, Some(200)), L);
    assert_eq!(stage.choose(L, Some(10)), L, "nothing fits: the smallest");
    // 500 kbit/s and 15 % are 575.
    for _ in 0..100 {
        assert_eq!(stage.choose(L, Some(570)), L);
        stage.now += 100 * MS;
    }
    assert_eq!(stage.choose(L, Some(600)), L);
    stage.now += limits::LAYER_UP_AFTER - MS;
    assert_eq!(stage.choose(L, Some(600)), L);
    assert_eq!(stage.choose(L, Some(560)), L, "it starts again");
    stage.now += MS;
    assert_eq!(stage.choose(L, Some(600)), L);
    stage.now += limits::LAYER_UP_AFTER;
    assert_eq!(stage.choose(L, Some(9_000)), M, "one step");
    assert_eq!(stage.choose(M, Some(9_000)), M);
    stage.now += limits::LAYER_UP_AFTER;
    assert_eq!(stage.choose(M, Some(9_000)), H);
}

#[test]
fn a_layer_that_was_too_much_before_long_is_tried_again_only_after_a_while() {
    let mut stage = Stage::new();
    // Of 2,500 kbit/s.
    let up_after = |stage: &mut Stage, available, wait| {
        assert_eq!(stage.choose(M, Some(available)), M);
        stage.now += wait - MS;
        assert_eq!(stage.choose(M, Some(available)), M);
        stage.now += MS;
        assert_eq!(stage.choose(M, Some(available)), H);
    };
    assert_eq!(stage.choose(H, Some(2_400)), M);
    up_after(&mut stage, 3_000, limits::LAYER_UP_AFTER);
    for _ in 0..3 {
        stage.now += limits::LAYER_UP_SOON - MS;
        assert_eq!(stage.choose(H, Some(2_400)), M);
        up_after(&mut stage, 4_900, limits::LAYER_UP_AGAIN_AFTER);
    }
    // There is more than enough.
    assert_eq!(stage.choose(H, Some(2_400)), M);
    up_after(&mut stage, 5_000, limits::LAYER_UP_AFTER);
    // It was kept for long.
    stage.now += limits::LAYER_UP_SOON;
    assert_eq!(stage.choose(H, Some(2_400)), M);
    up_after(&mut stage, 3_000, limits::LAYER_UP_AFTER);
}

#[test]
fn a_name_is_followed_whatever_the_network_says() {
    let mut stage = Stage::new();
    stage.select(rid("m"));
    assert_eq!(stage.choose(H, None), M);
    assert_eq!(stage.choose(L, Some(10)), M);
    stage.select(Selection {
        spatial_id: Some(0),
        ..Selection::default()
    });
    assert_eq!(stage.choose(M, Some(9_000)), L);
}

#[test]
fn a_layer_that_fell_silent_is_left_for_the_next_lower_then_the_next_higher() {
    let mut stage = Stage::new();
    stage.select(rid("m"));
    stage.states[1].is_active = false;
    assert_eq!(stage.choose(M, None), L);
    stage.states[2].is_active = false;
    assert_eq!(stage.choose(L, None), H);
    stage.states[1].is_active = true;
    assert_eq!(stage.choose(H, None), M, "back");
}

#[test]
fn a_publisher_without_that_layer_leaves_the_choice_to_the_server() {
    let mut stage = Stage::new();
    stage.select(rid("q"));
    assert_eq!(stage.choose(None, None), H);
    assert_eq!(
        stage.choose(H, Some(1_000)),
        M,
        "by what the network carries"
    );
}

#[test]
fn bounds_are_kept_and_the_smallest_comes_nearest_to_ones_that_nothing_keeps() {
    let mut stage = Stage::new();
    let width = |max| Selection {
        width_max: Some(max),
        ..Selection::default()
    };
    for (selection, chosen) in [
        (width(1280), H),
        (width(1279), M),
        (width(320), L),
        (width(100), L),
        (
            Selection {
                height_max: Some(360),
                ..Selection::default()
            },
            M,
        ),
        (
            Selection {
                spatial_id_max: Some(1),
                ..Selection::default()
            },
            M,
        ),
    ] {
        stage.select(selection);
        assert_eq!(
            stage.choose(None, None),
            chosen,
            "{:?}",
            stage.choice.selection
        );
    }
    // Bounded, but still by what the network carries.
    stage.select(width(640));
    assert_eq!(stage.choose(M, Some(200)), L);
}

#[test]
fn what_a_viewer_says_of_its_bandwidth_counts_from_a_fall_on_and_for_a_while() {
    let start = Instant::now();
    let mut remb = Remb::default();
    // It grows with what is sent, from little.
    for bps in [100_000, 300_000, 900_000, 890_000, 900_000] {
        remb.said(start, bps);
        assert_eq!(remb.limit(start), None);
    }
    remb.said(start, 600_000);
    assert_eq!(remb.limit(start), Some(600_000));
    remb.said(start, 620_000);
    assert_eq!(remb.limit(start), Some(620_000));
    let mut now = start + limits::REMB_BELIEVED_FOR;
    assert_eq!(remb.limit(now), None, "more is tried");
    // It fails at once: the next try comes later, up to a limit.
    let mut waited = Vec::new();
    for _ in 0..6 {
        remb.said(now, 900_000);
        remb.said(now, 600_000);
        let fell = now;
        while remb.limit(now).is_some() {
            now += Duration::from_secs(1);
        }
        waited.push((now - fell).as_secs());
    }
    assert_eq!(waited, [20, 40, 80, 120, 120, 120]);
    now += Duration::from_secs(60);
    remb.said(now, 900_000);
    remb.said(now, 600_000);
    now += limits::REMB_BELIEVED_FOR;
    assert_eq!(remb.limit(now), None, "another matter");
}

#[test]
fn of_a_scalable_stream_everything_passes_unless_something_limits_it() {
    let mut choice = Choice::default();
    let now = Instant::now();
    // Each with those below it.
    let states = [
        state(320, 150),
        state(640, 650),
        state(1280, 3_150),
        LayerState::default(),
    ];
    let limit = |spatial, temporal| Limit { spatial, temporal };
    let all = limit(u8::MAX, u8::MAX);
    assert_eq!(choice.limit(now, &states, all, None), all);
    assert_eq!(choice.limit(now, &states, all, Some(9_000_000)), all);
    assert_eq!(choice.limit(now, &states, all, Some(1_000_000)).spatial, 1);
    assert_eq!(choice.limit(now, &states, all, Some(1)).spatial, 0);
    for (selection, chosen) in [
        (
            Selection {
                spatial_id: Some(0),
                ..Selection::default()
            },
            limit(0, u8::MAX),
        ),
        (
            Selection {
                spatial_id: Some(2),
                ..Selection::default()
            },
            all,
        ),
        (
            Selection {
                spatial_id_max: Some(1),
                ..Selection::default()
            },
            limit(1, u8::MAX),
        ),
        (
            Selection {
                width_max: Some(640),
                ..Selection::default()
            },
            limit(1, u8::MAX),
        ),
        (
            Selection {
                temporal_id: Some(1),
                ..Selection::default()
            },
            limit(u8::MAX, 1),
        ),
        (
            Selection {
                temporal_id_max: Some(0),
                ..Selection::default()
            },
            limit(u8::MAX, 0),
        ),
        (
            Selection {
                temporal_id_max: Some(900),
                ..Selection::default()
            },
            all,
        ),
        (rid("h"), all),
    ] {
        choice.selection = selection;
        assert_eq!(
            choice.limit(now, &states, all, None),
            chosen,
            "{:?}",
            choice.selection
        );
    }
    // A stream without layers is sent whole.
    choice.selection = Selection {
        spatial_id: Some(0),
        ..Selection::default()
    };
    let one = [
        state(640, 650),
        LayerState::default(),
        LayerState::default(),
        LayerState::default(),
    ];
    assert_eq!(choice.limit(now, &one, all, Some(1)), all);
}

fn limit(spatial: u8, temporal: u8) -> Limit {
    Limit { spatial, temporal }
}

#[test]
fn where_the_smallest_picture_is_too_much_fewer_of_them_are_sent() {
    let mut states = [LayerState::default(); LAYERS_MAX];
    states[0] = LayerState {
        temporal_count: 3,
        temporal_percent: [40, 60, 100, 100],
        ..state(640, 1_000)
    };
    let (mut choice, mut now) = (Choice::default(), Instant::now());
    let all = limit(u8::MAX, u8::MAX);
    assert_eq!(choice.limit(now, &states, all, None), all);
    assert_eq!(choice.limit(now, &states, all, Some(1_000_000)), all);
    assert_eq!(choice.limit(now, &states, all, Some(999_999)).temporal, 1);
    assert_eq!(choice.limit(now, &states, all, Some(500_000)).temporal, 0);
    assert_eq!(choice.limit(now, &states, all, Some(1)).temporal, 0);
    // Up again one after the other, with some to spare.
    let mut current = limit(u8::MAX, 0);
    let mut steps = Vec::new();
    for _ in 0..100 {
        let next = choice.limit(now, &states, current, Some(1_200_000));
        if next != current {
            steps.push(next.temporal);
        }
        current = next;
        now += Duration::from_millis(100);
    }
    assert_eq!(steps, [1, u8::MAX]);
    let near = choice.limit(now, &states, limit(u8::MAX, 1), Some(1_100_000));
    assert_eq!(near.temporal, 1);
    // Whoever asks for less gets no more, and whoever asks for a layer by name gets all of it.
    choice.selection.temporal_id = Some(1);
    assert_eq!(choice.limit(now, &states, all, Some(1_200_000)).temporal, 1);
    assert_eq!(choice.limit(now, &states, all, Some(500_000)).temporal, 0);
    choice.selection.spatial_id = Some(0);
    assert_eq!(choice.limit(now, &states, all, Some(1)).temporal, 1);
}

#[test]
fn larger_pictures_are_left_before_fewer_are_sent() {
    let mut states = [LayerState::default(); LAYERS_MAX];
    for (state, (width, kbps)) in states.iter_mut().zip([(320, 200), (640, 600)]) {
        *state = LayerState {
            temporal_count: 2,
            temporal_percent: [60, 100, 100, 100],
            ..self::state(width, kbps)
        };
    }
    let (mut choice, now) = (Choice::default(), Instant::now());
    let all = limit(u8::MAX, u8::MAX);
    assert_eq!(
        choice.limit(now, &states, all, Some(500_000)),
        limit(0, u8::MAX)
    );
    assert_eq!(choice.limit(now, &states, all, Some(150_000)), limit(0, 0));
}

#[test]
fn of_simulcast_layers_too_the_smallest_is_slowed_and_only_that() {
    let mut stage = Stage::new();
    for state in &mut stage.states {
        (state.temporal_count, state.temporal_percent) = (3, [40, 60, 100, 100]);
    }
    let among = |stage: &mut Stage, current, kbps: u64| {
        let offered = Offered {
            rids: &stage.rids,
            count: stage.rids.len(),
            states: &stage.states,
        };
        stage
            .choice
            .among(stage.now, offered, current, Some(kbps * 1_000))
    };
    let within = |temporal| Limit {
        temporal,
        ..Limit::NONE
    };
    let all = Limit::NONE;
    assert_eq!(among(&mut stage, (H, all), 2_600), (H, all));
    assert_eq!(
        among(&mut stage, (H, all), 2_400),
        (M, all),
        "smaller first"
    );
    assert_eq!(among(&mut stage, (M, all), 160), (L, all));
    assert_eq!(among(&mut stage, (L, all), 149), (L, within(1)));
    assert_eq!(among(&mut stage, (M, all), 70), (L, within(0)), "in one go");
    // Up again after a while.
    let (mut current, mut steps) = ((L, within(0)), Vec::new());
    for _ in 0..100 {
        let next = among(&mut stage, current, 600);
        if next != current {
            steps.push(next);
        }
        current = next;
        stage.now += 100 * MS;
    }
    assert_eq!(steps.last(), Some(&(M, all)), "{steps:?}");
    // Where a wish leaves one layer that is the smallest; who names it gets it as it was named.
    stage.select(Selection {
        spatial_id_max: Some(1),
        temporal_id_max: Some(1),
        ..Selection::default()
    });
    assert_eq!(among(&mut stage, (M, all), 2_000), (M, within(1)));
    stage.select(rid("m"));
    assert_eq!(among(&mut stage, (M, all), 10), (M, all));
    stage.select(Selection {
        temporal_id: Some(0),
        ..rid("m")
    });
    assert_eq!(among(&mut stage, (M, all), 10), (M, within(0)));
    stage.states = [LayerState::default(); LAYERS_MAX];
    stage.select(Selection::default());
    assert_eq!(
        among(&mut stage, (M, all), 10),
        (None, all),
        "nothing flows"
    );
}
