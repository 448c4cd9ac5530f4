//! The report as one HTML page that needs nothing else: no network, and no script in order to be read. It is made of a Recording
//! alone. docs/html.md describes it.

mod data;
mod evidence;
mod matrix;
mod model;
mod rows;
mod scenario;
mod strip;
mod summary;
mod windows;

use std::io::{self, Write};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::model::Model;
use crate::recording::Recording;

const STYLE: &str = include_str!("style.css");
/// The script folds its work into one function, so that it leaves no name behind.
const SCRIPT: &str = include_str!("script.js");
/// An icon of its own, without which a browser asks the server for one.
const ICON: &str = "data:,";

/// Writes the page.
///
/// # Errors
///
/// Those of `out`.
pub fn write(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
    let model = Model::new(recording);
    out.write_all(page(&model).into_string().as_bytes())?;
    writeln!(out)
}

fn page(model: &Model<'_>) -> Markup {
    let recording = model.recording;
    let has_runs = !recording.sections.is_empty();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href=(ICON);
                title { (summary::title(model)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#matrix" { "Skip to the results" }
                header { (summary::head(model)) }
                main {
                    (summary::attention(model))
                    @if has_runs {
                        (matrix::filters(model))
                        (matrix::section(model))
                        (windows::section(model))
                        (scenario::section(model))
                    }
                    (rows::section(recording))
                }
                footer { p {
                    "unwind-harness " (recording.tool) ". Every number comes from the recording of one run (schema " (recording.schema)
                    "); the page computes none."
                } }
                @if has_runs {
                    script type="application/json" id="data" { (PreEscaped(data::json(model))) }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        }
    }
}
