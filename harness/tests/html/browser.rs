//! A headless Chromium, driven over its DevTools pipe: JSON messages that end in a zero byte, to file descriptor 3 and from 4.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// A browser with one tab.
pub(super) struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    next: u64,
    session: Option<String>,
    /// The addresses that the page has asked for.
    pub(super) requests: Vec<String>,
    /// What the page's script has thrown.
    pub(super) exceptions: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts Debian's Chromium; `None` if there is none.
    pub(super) fn start() -> Option<Self> {
        Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
        let profile = tempfile::tempdir().expect("a folder");
        // A shell moves the pipes to where Chromium expects them. Without a sandbox, because CI is root, and the page is ours.
        let mut child = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "chromium"])
            .args([
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args(["--no-first-run", "--disable-extensions", "--disable-background-networking", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let to = child.stdin.take().expect("a pipe");
        let from = BufReader::new(child.stdout.take().expect("a pipe"));
        let (requests, exceptions) = (Vec::new(), Vec::new());
        let mut browser = Self { child, to, from, next: 0, session: None, requests, exceptions, _profile: profile };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Network.enable"] {
            browser.call(domain, &json!({}));
        }
        Some(browser)
    }

    /// Calls a method, and waits for its result.
    pub(super) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("Chromium listens");
        self.until(|message| message["id"] == id, method)["result"].take()
    }

    /// Reads messages up to one of this kind.
    fn until(&mut self, is_it: impl Fn(&Value) -> bool, what: &str) -> Value {
        loop {
            let mut text = Vec::new();
            self.from.read_until(0, &mut text).expect("Chromium answers");
            assert_eq!(text.pop(), Some(0), "Chromium has ended: {what}");
            let message: Value = serde_json::from_slice(&text).expect("JSON");
            match message["method"].as_str() {
                Some("Network.requestWillBeSent") => {
                    self.requests.push(message["params"]["request"]["url"].to_string())
                }
                Some("Runtime.exceptionThrown") => {
                    self.exceptions.push(message["params"]["exceptionDetails"].to_string());
                }
                _ => {}
            }
            assert!(message["error"].is_null(), "{what}: {}", message["error"]);
            if is_it(&message) {
                return message;
            }
        }
    }

    /// Opens a file in a window of this width, in CSS pixels.
    pub(super) fn open(&mut self, path: &Path, fragment: &str, width: u32) {
        self.width(width);
        // From one fragment of a page to another nothing would be loaded.
        for url in ["about:blank".to_owned(), format!("file://{}{fragment}", path.display())] {
            self.call("Page.navigate", &json!({ "url": url }));
            self.until(|message| message["method"] == "Page.loadEventFired", "load");
        }
    }

    /// Sets the width of the window. The metrics are the device's: a real window has a least width.
    pub(super) fn width(&mut self, width: u32) {
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Sets the preferred colour scheme.
    pub(super) fn scheme(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Lets scripts run, or not.
    pub(super) fn scripts(&mut self, are_on: bool) {
        self.call("Emulation.setScriptExecutionDisabled", &json!({ "value": !are_on }));
    }

    /// The value of an expression; of a promise, what it gives.
    pub(super) fn eval(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut result = self.call("Runtime.evaluate", &parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].take()
    }

    /// Presses a key, as a keyboard does.
    pub(super) fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => panic!("no code of {key} is known here"),
        };
        for event in ["keyDown", "keyUp"] {
            let text = if key == "Enter" && event == "keyDown" { "\r" } else { "" };
            let parameters =
                json!({ "type": event, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", &parameters);
        }
    }

    /// A picture of the window, as PNG.
    pub(super) fn picture(&mut self) -> Vec<u8> {
        use base64::Engine as _;
        let picture = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().expect("data")).expect("base64")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its pipe, but its folder may go only when it has.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
