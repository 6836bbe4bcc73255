//! The page in a real browser, over a real grid: what a visitor does and sees, from the first field to the file on disk.
//!
//! It needs Chromium and its driver (Debian: `apt install chromium chromium-driver`). Where they are missing these tests say so and
//! pass, unless `FRACTALLY_BROWSER=required` is set. Screenshots are left in `target/tmp/screenshots`.

#![allow(clippy::unwrap_used, reason = "a test")]

mod chrome;
mod site;

use std::{
    io::Write,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use chrome::{CONTROL, Chrome, DESK, ENTER, ESCAPE, LET_GO, PHONE, Programs, RIGHT, Screen};
use fractally_testkit::{Gateway, Lab};
use site::Site;

/// A browser takes a processor for itself: one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// A site and a browser before it.
struct Visit {
    // Dropped in this order: the browser before the grid that it looks at.
    page: Chrome,
    site: Site,
    _turn: MutexGuard<'static, ()>,
}

impl Visit {
    /// None where there is no browser.
    fn start(screen: Screen) -> Option<Self> {
        let (programs, turn) = programs()?;
        let site = Site::start();
        let page = Chrome::start(&site.lab, &programs, screen);
        Some(Self { page, site, _turn: turn })
    }

    fn go(&self, path: &str) {
        self.page.go(&self.site.url(path));
    }

    /// Opens the page and waits for the first preview.
    fn open(&self) {
        self.go("/");
        self.page.until("document.querySelector('.layer')");
    }

    /// Waits until the picture is complete and seen.
    fn await_picture(&self) {
        self.page.until(&in_state("done"));
        self.page.until("document.querySelector('#badge').dataset.what === 'done'");
        self.page.until("document.querySelector('.layer').naturalWidth == document.querySelector('#form').elements.w.value");
        // Of a file that ends too early browsers show what there is, and leave the rest clear.
        let last_row = "const layer = document.querySelector('.layer'), canvas = document.createElement('canvas'); \
                        canvas.width = layer.naturalWidth; canvas.height = 1; const context = canvas.getContext('2d'); \
                        context.drawImage(layer, 0, 1 - layer.naturalHeight); \
                        return context.getImageData(0, 0, canvas.width, 1).data.filter((part, i) => i % 4 === 3 && part < 255).length;";
        assert_eq!(self.page.eval(last_row), 0, "the picture is whole");
    }
}

/// Browser and driver, and the right to use them; none where there are none.
fn programs() -> Option<(Programs, MutexGuard<'static, ()>)> {
    match Programs::find() {
        Ok(programs) => Some((programs, TURN.lock().unwrap_or_else(PoisonError::into_inner))),
        Err(why) => {
            assert!(std::env::var("FRACTALLY_BROWSER").as_deref() != Ok("required"), "FRACTALLY_BROWSER=required, but {why}");
            // Not by a macro: what those write is kept back while a test passes.
            let line = "=".repeat(78);
            let _ = writeln!(std::io::stderr(), "\n{line}\n  NOT TESTED: the page in a browser; {why}\n{line}\n");
            None
        }
    }
}

fn in_state(state: &str) -> String {
    format!("document.querySelector('#progress').dataset.state === {state:?}")
}

const MOVES: &str = "parseInt(document.querySelector('#percent').textContent) > 0";

/// A picture that takes one thread some seconds: the neighbourhood of a Siegel disk, where points neither escape nor are known not to.
const LONG: &str = "/#c=-0.390540870218399-0.586787907346969i&center=-0.368684439-0.337745147i&width=0.2&size=700x700&iter=60000";
/// One that takes far longer than any test.
const ENDLESS: &str =
    "/#c=-0.390540870218399-0.586787907346969i&center=-0.368684439-0.337745147i&width=0.2&size=700x700&iter=90000000";

#[test]
fn a_visitor_sets_the_fields_sees_the_picture_arrive_and_downloads_it() {
    let Some(visit) = Visit::start(DESK) else { return };
    let page = &visit.page;
    visit.open();
    page.screenshot("desk-empty");
    for (name, text) in [("cre", "-0.4"), ("cim", "0.6"), ("width", "3.6"), ("w", "900"), ("h", "640"), ("iter", "700")] {
        page.fill(&format!("[name={name}]"), text);
    }
    page.click(".swatch[data-cmap=twilight]");
    page.click("#render");
    visit.await_picture();
    page.screenshot("desk-done");
    assert_eq!(page.text("#percent"), "100 %");
    assert_eq!(page.text("#rows"), "640 of 640");
    page.click("#download");
    let downloaded = page.downloaded("png");
    let options = ["-c", "-0.4+0.6i", "--width", "3.6", "--size", "900x640", "--iter", "700", "--cmap", "twilight"];
    assert!(downloaded == visit.site.rendered(&options), "the file is the one that the command line writes, byte for byte");
    // What was rendered can be come back to.
    page.until("document.querySelectorAll('.thumb').length === 1");
    // The gateway names the file, with the ending that it prefers.
    for (format, ending) in [("webp", "webp"), ("jpg", "jpg"), ("tiff", "tif")] {
        page.click("#formats summary");
        page.click(&format!("[data-format={format}]"));
        assert!(!page.downloaded(ending).is_empty(), "{format}");
    }
}

/// Tells how long that took: `cargo test --release --test browser first -- --nocapture`.
#[test]
#[expect(clippy::disallowed_methods, reason = "it tells a time and asserts none")]
fn a_first_picture_is_seen_after_one_command() {
    let Some((programs, _turn)) = programs() else { return };
    let lab = Lab::new(env!("CARGO_BIN_EXE_fractally"));
    let page = Chrome::start(&lab, &programs, DESK);
    let began = Instant::now();
    let gateway = Gateway::start_with(&lab, &["up", "--listen", "127.0.0.1:0"]);
    let ready = began.elapsed();
    page.go(&format!("{}/", gateway.url));
    page.until("document.querySelector('.layer')?.naturalWidth > 0");
    let seen = began.elapsed();
    println!(
        "from `fractally up` to its URL: {} ms; to the first picture in the browser: {} ms",
        ready.as_millis(),
        seen.as_millis()
    );
    drop(page);
}

#[test]
fn a_long_render_shows_progress_and_stops_when_told_to() {
    let Some(visit) = Visit::start(DESK) else { return };
    let page = &visit.page;
    visit.go(ENDLESS);
    // What costs much is not begun by an address alone.
    page.until("document.querySelector('#render')");
    assert_eq!(page.eval("return document.querySelector('#progress').dataset.state;"), "idle");
    page.click("#render");
    page.until(&in_state("running"));
    page.until("document.querySelector('#workers').textContent === '1'");
    page.until("document.querySelector('.layer')");
    page.screenshot("desk-rendering");
    page.click("#stop");
    page.until(&in_state("cancelled"));
    visit.site.broker.await_status(&visit.site.lab, "nobody works for it any more", |status| {
        status["jobs"].as_array().is_some_and(Vec::is_empty)
    });
}

#[test]
fn a_render_that_others_cancel_is_asked_for_again() {
    let Some(visit) = Visit::start(DESK) else { return };
    let page = &visit.page;
    visit.go(LONG);
    page.until("document.querySelector('#render')");
    page.click("#render");
    page.until(MOVES);
    let Site { lab, broker, .. } = &visit.site;
    let jobs = broker.jobs(lab);
    let job = jobs.iter().find(|job| job["state"] != "done").unwrap_or_else(|| panic!("all of {jobs:?} are done"));
    let cancelled = broker.ask(lab, "cancel", &[job["job"].as_str().unwrap()]);
    assert_eq!(cancelled.code(), 0, "{cancelled:?}");
    visit.await_picture();
}

#[test]
fn the_page_goes_on_by_itself_after_the_gateway_was_killed() {
    let Some(mut visit) = Visit::start(DESK) else { return };
    visit.go(LONG);
    visit.page.until("document.querySelector('#render')");
    visit.page.click("#render");
    visit.page.until(MOVES);
    visit.site.kill_gateway();
    visit.page.until(&in_state("away"));
    visit.page.screenshot("desk-reconnecting");
    visit.site.start_gateway();
    visit.await_picture();
}

#[test]
fn everything_can_be_done_from_the_keyboard() {
    let Some(visit) = Visit::start(DESK) else { return };
    let page = &visit.page;
    visit.open();
    page.tab_to("#frame");
    page.press(&RIGHT.to_string());
    page.until("document.querySelector('#form').elements.xre.value === '0.4'");
    page.press("+");
    page.until("document.querySelector('#form').elements.width.value === '2.66667'");
    page.press("0");
    page.until("document.querySelector('#form').elements.width.value === '4'");
    page.tab_to("#pad");
    page.press(&RIGHT.to_string());
    page.until("document.querySelector('#form').elements.cre.value === '-0.79'");
    page.tab_to("[name=w]");
    page.press(&format!("{CONTROL}a{LET_GO}300"));
    page.tab_to("[name=h]");
    page.press(&format!("{CONTROL}a{LET_GO}200"));
    page.tab_to("[name=cmap]");
    page.press(&RIGHT.to_string());
    page.tab_to("#render");
    page.press(&ENTER.to_string());
    visit.await_picture();
    assert!(page.eval("return location.hash;").as_str().unwrap().contains("cmap=magma"));
    page.tab_back_to("#download");
    page.press(&ENTER.to_string());
    let options = ["-c", "-0.79+0.156i", "--size", "300x200", "--cmap", "magma"];
    assert!(page.downloaded("png") == visit.site.rendered(&options));
}

#[test]
fn what_is_wrong_stands_beside_its_field_and_what_was_typed_stays() {
    let Some(visit) = Visit::start(PHONE) else { return };
    let page = &visit.page;
    visit.open();
    page.screenshot("phone-empty");
    page.fill("[name=width]", "-1");
    page.click("#render");
    page.until("document.querySelector('#error-width').textContent");
    assert!(page.text("#error-width").contains("above 0"), "{}", page.text("#error-width"));
    assert_eq!(page.eval("return document.activeElement.name;"), "width");
    assert_eq!(page.value("[name=width]"), "-1");
    page.screenshot("phone-error");
    page.fill("[name=width]", "4");
    assert_eq!(page.text("#error-width"), "");
    page.fill("[name=iter]", "many");
    page.click("#render");
    page.until("document.querySelector('#error-iter').textContent");
    page.fill("[name=iter]", "64");
    page.click("#render");
    visit.await_picture();
    page.screenshot("phone-done");
    assert_eq!(page.eval("return document.documentElement.scrollWidth <= innerWidth;"), true, "nothing is wider than the phone");
    let targets = "return [...document.querySelectorAll('button, select, summary, input:not([type=radio])')].filter((one) => \
                   one.getBoundingClientRect().height > 0 && one.getBoundingClientRect().height < 44).map((one) => one.outerHTML);";
    assert_eq!(page.eval(targets), serde_json::json!([]), "a finger hits everything");
}

#[test]
fn an_address_brings_its_picture_back_and_the_browsers_arrows_work() {
    let Some(visit) = Visit::start(DESK) else { return };
    let page = &visit.page;
    visit.go("/#c=-0.75+0.1i&center=0.1-0.2i&width=2.5&size=320x200&iter=300&cmap=viridis&interior=102030&bailout=4");
    visit.await_picture();
    page.reload();
    visit.await_picture();
    let fields =
        [("cre", "-0.75"), ("cim", "0.1"), ("xre", "0.1"), ("xim", "-0.2"), ("width", "2.5"), ("w", "320"), ("h", "200")];
    for (name, text) in fields.into_iter().chain([("iter", "300"), ("interior", "#102030"), ("bailout", "4")]) {
        assert_eq!(page.value(&format!("[name={name}]")), text, "{name}");
    }
    page.fill("[name=cre]", "-0.5");
    page.click("#render");
    visit.await_picture();
    page.eval("history.back();");
    page.until("document.querySelector('#form').elements.cre.value === '-0.75'");
    visit.await_picture();
    page.eval("history.forward();");
    page.until("document.querySelector('#form').elements.cre.value === '-0.5'");
    visit.await_picture();
}

#[test]
fn the_talks_call_gives_a_page_that_shows_the_picture() {
    let Some(visit) = Visit::start(PHONE) else { return };
    visit.go("/?w=600&h=400&cre=-0.8&cim=0.156&cmap=inferno");
    visit.page.until("document.querySelector('figure img')?.naturalWidth === 600");
    visit.page.screenshot("phone-talk");
}

#[test]
fn the_interface_is_shown_and_can_be_searched() {
    let Some(visit) = Visit::start(DESK) else { return };
    let page = &visit.page;
    visit.go("/docs");
    page.until("document.querySelectorAll('.entry').length > 8");
    page.screenshot("desk-docs");
    page.press("/");
    page.press("preview");
    page.until("document.querySelectorAll('.entry:not([hidden])').length < 5");
    page.press(&ESCAPE.to_string());
    page.until("document.querySelectorAll('.entry[hidden]').length === 0");
    // Every link inside of the page leads somewhere.
    let dangling = "return [...document.querySelectorAll('a[href^=\"#\"]')].filter((link) => \
                    !document.getElementById(link.hash.slice(1))).map((link) => link.hash);";
    assert_eq!(page.eval(dangling), serde_json::json!([]));
    visit.go("/docs#problem-422");
    page.until("document.querySelector('#problem-422')");
}
