//! The HTML report, in a headless Chromium: what the page does, not what its source looks like. docs/html.md says what to install.

mod browser;
mod content;
mod reading;

use std::path::PathBuf;
use std::sync::LazyLock;

use unwind_harness::recording::Recording;
use unwind_harness::report::html;

use self::browser::Browser;
use crate::linux_packages::skip;
use crate::whole_run::report;

/// The largest page of a run of everything, in bytes: what a mail or a CI's artefact list still takes.
const MOST: usize = 4_000_000;

/// The widths at which the page must be usable, in CSS pixels.
const WIDTHS: [u32; 2] = [400, 1400];

fn page(recording: &Recording) -> String {
    let mut text = Vec::new();
    html::write(recording, &mut text).expect("a vector takes everything");
    String::from_utf8(text).expect("UTF-8")
}

/// The page of all scenarios, as a file.
fn whole() -> PathBuf {
    static FILE: LazyLock<(PathBuf, tempfile::TempDir)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report.html");
        std::fs::write(&path, page(report())).expect("the page is written");
        (path, folder)
    });
    FILE.0.clone()
}

/// A browser, unless there is none: then the test is skipped, and says so.
fn browser(test: &str) -> Option<Browser> {
    let browser = Browser::start();
    if browser.is_none() {
        skip(test, "there is no chromium: `.ci/setup --ci` installs it");
    }
    browser
}

#[test]
fn a_run_of_everything_is_one_small_file() {
    let page = page(report());
    assert!(page.len() <= MOST, "{} bytes", page.len());
    for outside in ["http:", "https:", "src=", "@import", "url("] {
        let at = page.find(outside);
        assert_eq!(at, None, "{outside}: {:?}", at.map(|at| &page[at.saturating_sub(60)..at + 60]));
    }
    assert_eq!(page, self::page(report()), "the same recording gives the same bytes");
}

/// Writes docs/report-400.png and docs/report-1400.png: `cargo test --workspace --test integration html::pictures -- --ignored`.
#[test]
#[ignore = "it writes into docs/"]
fn pictures() {
    let mut browser = Browser::start().expect("chromium");
    for width in WIDTHS {
        browser.open(&whole(), "", width);
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("docs/report-{width}.png"));
        std::fs::write(path, browser.picture()).expect("docs is there");
    }
}
