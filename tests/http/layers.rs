//! Simulcast layers over HTTP: listed, told, chosen, shown.

use serde_json::json;
use whitewater_link::{Event, LayerInfo, LayerState, Selection};

use crate::world::{Made, World};

/// A publisher of three layers, the last of which sends nothing, and a viewer.
async fn layered(world: &World) -> (Made, Made) {
    let publisher = world.publish("a").await;
    let layer = |place: u16, rid: &str| LayerInfo {
        rid: Some(rid.to_owned()),
        temporal_id: 0,
        spatial_id: 2 - place as u8,
        state: LayerState {
            is_active: place < 2,
            bitrate_bps: 900_000 >> place,
            width: 1280 >> place,
            height: 720 >> place,
            frames_per_second: 30,
            temporal_count: 0,
            temporal_percent: [0; 4],
        },
    };
    let layers = vec![layer(0, "h"), layer(1, "m"), layer(2, "l")];
    let session = publisher.id;
    world.plane.tell(Event::Layers { session, layers });
    let viewer = world.watch("a").await;
    let url = format!("{}/layer", viewer.location);
    let listed = async || world.get(&url).await.status == 200;
    world.until("the layers are known", listed).await;
    (publisher, viewer)
}

#[tokio::test]
async fn layers_are_listed_by_name() {
    let world = World::new().await;
    let (publisher, viewer) = layered(&world).await;
    let url = format!("{}/layer", viewer.location);
    let reply = world.get(&url).await.expect(200);
    let names = ["h", "m", "l"].map(|rid| json!({ "encodingId": rid }));
    assert_eq!(reply.json(), json!(names));
    world
        .get(&format!("{}/layer", publisher.location))
        .await
        .problem(409);
    // They go with their publisher.
    world.delete(&publisher.location).await.expect(204);
    world.get(&url).await.problem(409);
}

#[tokio::test]
async fn x_sse_11_every_layer_is_told_with_what_is_known_of_it() {
    let world = World::new().await;
    let (_, viewer) = layered(&world).await;
    let url = format!("{}/events", viewer.location);
    let made = world.post_json(&url, r#"["layers"]"#).await.expect(201);
    let events = made.header("location").to_owned();
    let (_, data, _) = crate::events::Poll::open(&world, &events, None)
        .await
        .next()
        .await;
    let layer = |rid, spatial, bitrate, width: u16| {
        json!({
            "rid": rid, "spatialLayerId": spatial, "temporalLayerId": 0, "bitrate": bitrate,
            "width": width, "height": width / 16 * 9,
        })
    };
    let layers = [
        layer("h", 2, 900_000, 1280),
        layer("m", 1, 450_000, 640),
        layer("l", 0, 0, 320),
    ];
    assert_eq!(data, json!({ "0": layers }));
}

#[tokio::test]
async fn x_lay_2_a_layer_is_chosen_by_name_place_or_size() {
    let world = World::new().await;
    let (_, viewer) = layered(&world).await;
    let url = format!("{}/layer", viewer.location);
    let base = Selection::default;
    let rid = |rid: &str| Some(rid.to_owned());
    let wishes = [
        (
            r#"{"rid":"m"}"#,
            Selection {
                rid: rid("m"),
                ..base()
            },
        ),
        (
            r#"{"encodingId":"h"}"#,
            Selection {
                rid: rid("h"),
                ..base()
            },
        ),
        (
            r#"{"mediaId":"0","spatialLayerId":1}"#,
            Selection {
                spatial_id: Some(1),
                ..base()
            },
        ),
        (
            r#"{"maxWidth":640,"maxHeight":360}"#,
            Selection {
                width_max: Some(640),
                height_max: Some(360),
                ..base()
            },
        ),
        ("{}", base()),
    ];
    for (wish, _) in &wishes {
        world.post_json(&url, wish).await.expect(200);
    }
    for wish in [
        r#"{"rid":"q"}"#,
        r#"{"encodingId":"H"}"#,
        r#"{"rid":""}"#,
        r#"{"rid":"h","spatialLayerId":0}"#,
        r#"{"spatialLayerId":3}"#,
        r#"{"temporalLayerId":1}"#,
        r#"{"maxWidth":319}"#,
    ] {
        world.post_json(&url, wish).await.problem(422);
    }
    let expected: Vec<_> = wishes.into_iter().map(|(_, s)| (viewer.id, s)).collect();
    world
        .until(
            "the data plane heard of those that can be had",
            async || world.plane.seen(|seen| seen.selected == expected),
        )
        .await;
}

#[tokio::test]
async fn the_layer_a_viewer_is_sent_is_shown_with_its_session() {
    let world = World::new().await;
    let (_, viewer) = layered(&world).await;
    let shown = async || {
        let stream = world.stream("a").await.expect("published");
        stream["subscribe"]["sessions"][0]["layer"].clone()
    };
    assert!(shown().await.is_null());
    let url = format!("{}/layer", viewer.location);
    world.post_json(&url, r#"{"rid":"m"}"#).await.expect(200);
    world
        .until("it is shown", async || shown().await == "m")
        .await;
}
