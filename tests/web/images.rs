//! Files of renders: while they come and when they are there, in parts, in other types, and small.

use fractally_testkit::eventually;
use image::{DynamicImage, ImageFormat};
use serde_json::json;

use crate::{Site, endless, long};

fn decoded(bytes: &[u8], format: ImageFormat) -> DynamicImage {
    image::load_from_memory_with_format(bytes, format).unwrap()
}

#[test]
fn a_file_is_streamed_while_it_is_rendered_and_equals_the_one_that_is_there() {
    let site = Site::start();
    let render = site.gateway.render(&long());
    let image = render["links"]["image"].as_str().unwrap();
    let coming = site.gateway.get(image);
    assert_eq!((coming.status, coming.header("etag")), (200, ""));
    let id = render["id"].as_str().unwrap();
    assert_eq!(site.gateway.finished(id)["state"], "done");
    let there = site.gateway.get(image);
    assert!(coming.body == there.body);
    assert_eq!(there.header("content-length"), there.body.len().to_string());
    assert_eq!(there.header("accept-ranges"), "bytes");
    let etag = there.header("etag");
    assert!(etag.contains(id) && etag.contains("fractally-"), "{etag}");
    assert_eq!(site.gateway.get_with(image, &[("If-None-Match", etag)]).status, 304);
    assert_eq!(site.gateway.get_with(image, &[("If-None-Match", "\"other\"")]).status, 200);
}

#[test]
fn parts_of_a_file_are_parts_of_the_file() {
    let site = Site::start();
    for format in ["png", "npy"] {
        let render = site.gateway.render(&json!({"size": "500x700", "format": format}));
        let id = render["id"].as_str().unwrap();
        assert_eq!(site.gateway.finished(id)["state"], "done");
        let path = format!("/api/v1/renders/{id}/image.{format}");
        let all = site.gateway.get(&path);
        let len = all.body.len();
        let part = |range: &str| site.gateway.get_with(&path, &[("Range", range)]);
        for (range, from, to) in [("bytes=0-0", 0, 1), ("bytes=100-1099", 100, 1100), ("bytes=-7", len - 7, len)] {
            let answer = part(range);
            assert_eq!((answer.status, &answer.body[..]), (206, &all.body[from..to]), "{range}");
            assert_eq!(answer.header("content-range"), format!("bytes {from}-{}/{len}", to - 1));
        }
        // Together they are the file.
        let half = len / 2;
        let [first, second] = [format!("bytes=0-{}", half - 1), format!("bytes={half}-")].map(|range| part(&range).body);
        assert!([first, second].concat() == all.body);
        let none = part(&format!("bytes={len}-"));
        assert_eq!(none.header("content-range"), format!("bytes */{len}"));
        none.expect_problem(416, None);
        let changed = site.gateway.get_with(&path, &[("Range", "bytes=0-0"), ("If-Range", "\"old\"")]);
        assert_eq!((changed.status, changed.body.len()), (200, len));
    }
}

#[test]
fn other_types_are_made_by_ending_or_by_accept() {
    let site = Site::start();
    let render = site.gateway.render(&json!({"size": "301x203"}));
    let path = format!("{}/image", render["links"]["self"].as_str().unwrap());
    let png = decoded(&site.gateway.get(&path).body, ImageFormat::Png);
    for (ending, media_type, format) in [
        ("webp", "image/webp", ImageFormat::WebP),
        ("jpg", "image/jpeg", ImageFormat::Jpeg),
        ("tiff", "image/tiff", ImageFormat::Tiff),
    ] {
        let by_ending = site.gateway.get(&format!("{path}.{ending}"));
        let by_accept = site.gateway.get_with(&path, &[("Accept", media_type)]);
        for answer in [&by_ending, &by_accept] {
            assert_eq!((answer.status, answer.header("content-type")), (200, media_type), "{}", answer.text());
            assert_eq!(answer.header("vary"), "accept");
        }
        assert!(by_ending.body == by_accept.body);
        let made = decoded(&by_ending.body, format);
        assert_eq!((made.width(), made.height()), (301, 203));
        if format != ImageFormat::Jpeg {
            assert!(made.to_rgb8() == png.to_rgb8(), "{ending} is another picture");
        }
    }
    site.gateway.get_with(&path, &[("Accept", "text/html")]).expect_problem(406, None);
    site.gateway.get(&format!("{path}.npy")).expect_problem(406, None);
    site.gateway.get(&format!("{path}.gif")).expect_problem(404, None);
    let tall = site.gateway.render(&json!({"size": "1x70000", "iter": 1}));
    let path = format!("{}/image", tall["links"]["self"].as_str().unwrap());
    let problem = site.gateway.get(&format!("{path}.jpg")).expect_problem(422, Some("size"));
    assert!(problem["detail"].as_str().unwrap().contains("65535"), "{problem}");
    assert_eq!(site.gateway.get(&path).status, 200);
}

/// Conversions are few at once; those of pictures that are not complete yet must not take their places.
#[test]
fn who_waits_for_a_picture_keeps_nobody_from_converting_another() {
    let site = Site::start();
    let running = site.gateway.render(&endless())["links"]["self"].as_str().unwrap().to_owned();
    let small = site.gateway.render(&json!({"size": "60x40"}));
    let (id, path) = (small["id"].as_str().unwrap(), small["links"]["self"].as_str().unwrap());
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| site.gateway.get(&format!("{running}/image.webp")))).collect();
        // While all workers are busy with the other one, this picture is not rendered: it is given up and drawn after all.
        eventually("they wait", || {
            site.gateway.get("/metrics").text().contains("fractally_gateway_requests_open 4").then_some(())
        });
        assert_eq!(site.gateway.delete_as("test", &running).status, 204);
        assert_eq!(site.gateway.finished(id)["state"], "done");
        assert_eq!(site.gateway.get(&format!("{path}/image.webp")).status, 200);
        for waiting in waiting {
            waiting.join().unwrap().expect_problem(409, None);
        }
    });
}

#[test]
fn a_preview_shows_the_whole_before_it_is_there_and_stays_when_it_is() {
    let site = Site::start();
    let id = site.gateway.render(&endless())["id"].as_str().unwrap().to_owned();
    let preview = site.gateway.get(&format!("/api/v1/renders/{id}/preview?width=100"));
    assert_eq!((preview.status, preview.header("cache-control")), (200, "no-store"), "{}", preview.text());
    let picture = decoded(&preview.body, ImageFormat::Png);
    assert_eq!((picture.width(), picture.height()), (100, 100));
    // Looking at it is no interest in it.
    assert_eq!(site.gateway.delete_as("test", &format!("/api/v1/renders/{id}")).status, 204);
    eventually("nobody is left", || {
        (site.gateway.get(&format!("/api/v1/renders/{id}")).json()["state"] == "cancelled").then_some(())
    });

    let render = site.gateway.render(&json!({"size": "1024x512"}));
    let id = render["id"].as_str().unwrap();
    assert_eq!(site.gateway.finished(id)["state"], "done");
    let path = format!("/api/v1/renders/{id}/preview?width=256");
    let whole = eventually("the preview is complete", || {
        Some(site.gateway.get(&path)).filter(|preview| !preview.header("etag").is_empty())
    });
    let full = decoded(&site.gateway.get(&format!("/api/v1/renders/{id}/image")).body, ImageFormat::Png).to_rgb8();
    let small = decoded(&whole.body, ImageFormat::Png).to_rgb8();
    assert_eq!(small.dimensions(), (256, 128));
    // Each pixel is the mean of the sixteen that it stands for.
    for (x, y, pixel) in small.enumerate_pixels() {
        for channel in 0..3 {
            let places = (0..4).flat_map(|dy| (0..4).map(move |dx| (4 * x + dx, 4 * y + dy)));
            let sum: u32 = places.map(|(x, y)| u32::from(full.get_pixel(x, y).0[channel])).sum();
            assert_eq!(u32::from(pixel.0[channel]), (sum + 8) / 16, "{x} {y}");
        }
    }
    assert_eq!(site.gateway.get_with(&path, &[("If-None-Match", whole.header("etag"))]).status, 304);
    site.gateway.get(&format!("/api/v1/renders/{id}/preview?width=5000")).expect_problem(400, Some("width"));
}
