//! Chromium, driven over WebDriver: a driver on a free port, a browser with a profile of its own, both gone when dropped.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use fantoccini::{
    Client, ClientBuilder, Locator,
    actions::{InputSource, KeyAction, KeyActions},
    elements::Element,
    error::CmdError,
    wd::Capabilities,
};
use fractally_testkit::{Lab, Process, eventually, lasting_ports};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

/// Pixels of the window, and whether it is touched rather than pointed at.
#[derive(Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) is_touched: bool,
}

pub(crate) const DESK: Screen = Screen { width: 1440, height: 900, is_touched: false };
pub(crate) const PHONE: Screen = Screen { width: 390, height: 844, is_touched: true };

// Keys without a character, as WebDriver numbers them.
pub(crate) const LET_GO: char = '\u{E000}';
pub(crate) const TAB: char = '\u{E004}';
pub(crate) const ENTER: char = '\u{E007}';
pub(crate) const SHIFT: char = '\u{E008}';
pub(crate) const CONTROL: char = '\u{E009}';
pub(crate) const ESCAPE: char = '\u{E00C}';
pub(crate) const RIGHT: char = '\u{E014}';

/// The two programs.
#[derive(Clone)]
pub(crate) struct Programs {
    browser: PathBuf,
    driver: PathBuf,
}

impl Programs {
    /// Where they are, or which is missing.
    pub(crate) fn find() -> Result<Self, String> {
        let one_of = |names: &[&str]| {
            let folders: Vec<_> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
            let paths = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
            paths.clone().find(|path| path.is_file()).ok_or_else(|| format!("{} is not installed", names.join(" or ")))
        };
        Ok(Self { browser: one_of(&["chromium", "chromium-browser", "google-chrome"])?, driver: one_of(&["chromedriver"])? })
    }
}

/// A browser with one page. What it is asked for must succeed.
pub(crate) struct Chrome {
    runtime: Runtime,
    client: Option<Client>,
    downloads: PathBuf,
    _driver: Process,
}

impl Chrome {
    pub(crate) fn start(lab: &Lab, programs: &Programs, screen: Screen) -> Self {
        let [port, _] = lasting_ports();
        let mut command = Command::new(&programs.driver);
        // The lab tells its processes by this variable, the browser's own included.
        command.arg(format!("--port={port}")).env("TMPDIR", lab.temporary()).env("HOME", lab.path("."));
        let driver = lab.start(command);
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let downloads = lab.path("downloads");
        let capabilities = capabilities(programs, screen, &lab.path("profile"), &downloads);
        let url = format!("http://127.0.0.1:{port}");
        let client = eventually("the driver opens a browser", || {
            let connect =
                async { ClientBuilder::new(HttpConnector::new()).capabilities(capabilities.clone()).connect(&url).await };
            runtime.block_on(connect).map_err(|error| eprintln!("not yet: {error}")).ok()
        });
        Self { runtime, client: Some(client), downloads, _driver: driver }
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("it is there until the end")
    }

    fn wait<T>(&self, what: &str, doing: impl Future<Output = Result<T, CmdError>>) -> T {
        let within = async { tokio::time::timeout(Duration::from_secs(60), doing).await };
        let result = self.runtime.block_on(within).unwrap_or_else(|_| panic!("the browser does not answer: {what}"));
        result.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    pub(crate) fn go(&self, url: &str) {
        self.wait(url, self.client().goto(url));
    }

    pub(crate) fn reload(&self) {
        self.wait("reload", self.client().refresh());
    }

    /// The value of a script, which `return`s it.
    pub(crate) fn eval(&self, script: &str) -> Value {
        self.wait(script, self.client().execute(script, Vec::new()))
    }

    /// Waits until an expression of the page is true.
    pub(crate) fn until(&self, expression: &str) {
        let script = format!("return Boolean({expression});");
        let state = || self.eval("return document.querySelector('#progress')?.innerText ?? document.body.innerText;").to_string();
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(expression, || (self.eval(&script) == true).then_some(()));
        }));
        if let Err(panic) = end {
            eprintln!("the page says: {}", state());
            std::panic::resume_unwind(panic);
        }
    }

    /// The text of an element.
    pub(crate) fn text(&self, css: &str) -> String {
        self.wait(css, async { self.find(css).await?.text().await })
    }

    /// What a field holds.
    pub(crate) fn value(&self, css: &str) -> String {
        self.eval(&format!("return document.querySelector({css:?}).value;")).as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn click(&self, css: &str) {
        self.wait(css, async { self.find(css).await?.click().await });
    }

    /// Replaces what a field holds.
    pub(crate) fn fill(&self, css: &str, text: &str) {
        self.wait(css, async {
            let field = self.find(css).await?;
            field.clear().await?;
            field.send_keys(text).await
        });
    }

    /// Presses keys, one after the other, where the focus is. Control and Shift are held until [`LET_GO`] or the end.
    pub(crate) fn press(&self, keys: &str) {
        let mut actions = KeyActions::new("keyboard".to_owned());
        let mut held = Vec::new();
        for value in keys.chars() {
            if value == LET_GO {
                actions = held.drain(..).fold(actions, |actions, value| actions.then(KeyAction::Up { value }));
                continue;
            }
            actions = actions.then(KeyAction::Down { value });
            if [CONTROL, SHIFT].contains(&value) {
                held.push(value);
            } else {
                actions = actions.then(KeyAction::Up { value });
            }
        }
        actions = held.into_iter().fold(actions, |actions, value| actions.then(KeyAction::Up { value }));
        self.wait(keys, self.client().perform_actions(actions));
    }

    /// Goes on with the tab key until the focus is on an element.
    pub(crate) fn tab_to(&self, css: &str) {
        self.press_until_focus(&TAB.to_string(), css);
    }

    /// The same the other way.
    pub(crate) fn tab_back_to(&self, css: &str) {
        self.press_until_focus(&[SHIFT, TAB].iter().collect::<String>(), css);
    }

    fn press_until_focus(&self, keys: &str, css: &str) {
        for _ in 0..80 {
            if self.eval(&format!("return document.activeElement.matches({css:?});")) == true {
                return;
            }
            self.press(keys);
        }
        panic!("the tab key does not lead to {css}");
    }

    /// Writes a PNG of the window to the folder of test results.
    pub(crate) fn screenshot(&self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        fs::create_dir_all(&folder).expect("a folder for screenshots");
        let png = self.wait("a screenshot", self.client().screenshot());
        fs::write(folder.join(format!("{name}.png")), png).expect("a screenshot can be written");
    }

    /// The bytes of a file that the browser has downloaded, once it is complete.
    pub(crate) fn downloaded(&self, ending: &str) -> Vec<u8> {
        let has_ending = |path: &PathBuf, ending: &str| path.extension().is_some_and(|is| is == ending);
        eventually("the file is downloaded", || {
            let paths: Vec<_> = fs::read_dir(&self.downloads).ok()?.flatten().map(|entry| entry.path()).collect();
            // While it is written, an empty file keeps its name.
            let is_under_way = paths.iter().any(|path| has_ending(path, "crdownload"));
            let bytes = fs::read(paths.iter().find(|path| has_ending(path, ending))?).ok()?;
            (!is_under_way && !bytes.is_empty()).then_some(bytes)
        })
    }

    async fn find(&self, css: &str) -> Result<Element, CmdError> {
        self.client().find(Locator::Css(css)).await
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            // Closes the window; if it cannot any more, the lab ends what is left.
            let close = async { tokio::time::timeout(Duration::from_secs(5), client.close()).await };
            let _ = self.runtime.block_on(close);
        }
    }
}

fn capabilities(programs: &Programs, screen: Screen, profile: &Path, downloads: &Path) -> Capabilities {
    let Screen { width, height, is_touched } = screen;
    let profile = format!("--user-data-dir={}", profile.display());
    let options = json!({
        "binary": programs.browser,
        // As root there is no sandbox, and in a container little shared memory.
        "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars", "--no-first-run", profile],
        "mobileEmulation": {
            "deviceMetrics": { "width": width, "height": height, "pixelRatio": 1, "touch": is_touched, "mobile": is_touched },
        },
        "prefs": { "download.default_directory": downloads, "download.prompt_for_download": false },
    });
    Capabilities::from_iter([("goog:chromeOptions".to_owned(), options)])
}
