//! Map tiles: to the bit the poster's pixels, cached for good, and work that stops when nobody waits.

use std::{io::Write, net::TcpStream};

use fractally_testkit::eventually;
use image::ImageFormat;
use serde_json::json;

use crate::Site;

#[test]
fn tiles_and_poster_agree_to_the_bit() {
    let site = Site::start();
    let render = site.gateway.render(&json!({"size": "1024x1024", "width": 3, "c": "-0.4+0.6i", "interior": "navy"}));
    let template = render["links"]["tiles"].as_str().unwrap();
    let poster = site.gateway.get(render["links"]["image"].as_str().unwrap()).body;
    let poster = image::load_from_memory_with_format(&poster, ImageFormat::Png).unwrap().to_rgb8();
    for x in 0..4u32 {
        for y in 0..4u32 {
            let path = template.replace("{z}", "2").replace("{x}", &x.to_string()).replace("{y}", &y.to_string());
            let answer = site.gateway.get(&path);
            assert_eq!((answer.status, answer.header("content-type")), (200, "image/png"), "{}", answer.text());
            let tile = image::load_from_memory_with_format(&answer.body, ImageFormat::Png).unwrap().to_rgb8();
            let part = image::imageops::crop_imm(&poster, 256 * x, 256 * y, 256, 256).to_image();
            assert!(tile == part, "tile {x} {y}");
        }
    }
    // And a tile is the file of its window.
    let window = json!({"size": "1024x1024", "window": "256x256+512+768", "width": 3, "c": "-0.4+0.6i", "interior": "navy"});
    let file = site.gateway.get(site.gateway.render(&window)["links"]["image"].as_str().unwrap()).body;
    assert!(file == site.gateway.get(&template.replace("{z}", "2").replace("{x}", "2").replace("{y}", "3")).body);
}

#[test]
fn a_tile_is_kept_for_good_and_known_by_its_engine() {
    let site = Site::start();
    // Only a gateway that has seen a worker knows the engine, by which it answers without a look at the cache.
    eventually("it is ready", || (site.gateway.get("/readyz").status == 200).then_some(()));
    let path = "/tiles/-/3/4/4.png";
    let tile = site.gateway.get(path);
    assert_eq!(tile.header("cache-control"), "public, max-age=31536000, immutable");
    let etag = tile.header("etag");
    assert!(etag.contains("fractally-"), "{etag}");
    let known = site.gateway.get_with(path, &[("If-None-Match", etag)]);
    assert_eq!((known.status, known.body.len()), (304, 0));
    let again = site.gateway.get(path);
    assert!(again.body == tile.body);
    let metrics = site.gateway.get("/metrics").text();
    assert!(metrics.contains("fractally_gateway_small_pictures_total{cached=\"yes\"} 1"), "{metrics}");
    for path in ["/tiles/-/23/0/0.png", "/tiles/-/0/1/0.png", "/tiles/-/0/0/0.jpg", "/tiles/-/a/0/0.png", "/tiles/-/0/0"] {
        site.gateway.get(path).expect_problem(404, None);
    }
    site.gateway.get("/tiles/cmap=jet/0/0/0.png").expect_problem(422, Some("cmap"));
    site.gateway.get("/tiles/iter=0/0/0/0.png").expect_problem(422, Some("iter"));
}

/// The connection is the interest: an explorer that is moved on closes it.
#[test]
fn closing_the_connection_takes_the_work_back() {
    let site = Site::start();
    // Inside the Siegel disk: points that go round for ever.
    let fields = "c=-0.390540870218399-0.586787907346969i,center=-0.368684439-0.337745147i,width=0.2,iter=1000000000";
    let mut one = TcpStream::connect(site.gateway.url.strip_prefix("http://").unwrap()).unwrap();
    let mut two =
        one.try_clone().map(|_| TcpStream::connect(site.gateway.url.strip_prefix("http://").unwrap()).unwrap()).unwrap();
    for connection in [&mut one, &mut two] {
        write!(connection, "GET /tiles/{fields}/0/0/0.png HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    }
    let status = site
        .broker
        .await_status(&site.lab, "the tile is being rendered", |status| !status["jobs"].as_array().unwrap().is_empty());
    assert_eq!(status["jobs"].as_array().unwrap().len(), 1, "both wait for one job: {status}");
    assert_eq!(status["jobs"][0]["priority"], "interactive");
    drop(one);
    // The other still waits.
    eventually("the gateway has noticed", || {
        let metrics = site.gateway.get("/metrics").text();
        // The one that waits.
        metrics.contains("fractally_gateway_requests_open 1").then_some(())
    });
    assert_eq!(site.broker.status(&site.lab)["jobs"].as_array().unwrap().len(), 1);
    drop(two);
    eventually("the workers are free", || {
        (site.is_idle() && site.broker.status(&site.lab)["jobs"].as_array().unwrap().is_empty()).then_some(())
    });
}
