//! What a point in a real kernel costs: an interrupt through its own entry and exit code, and two walks by its own unwinder.
//!
//! `cargo bench --bench kernel` needs the images that `.ci/linux` fetches. For each it prints points per second and what they are made
//! of, from the fastest of several runs of one scenario, without loading; and the ratio of a point with two walks to a point without.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use unwind_harness::linux::{KernelImage, list};
use unwind_harness::scenario::image_scenarios;
use unwind_harness::subject::{OwnForm, OwnSubject, Subject};
use unwind_harness::suite::{Job, Subjects};

const SAMPLES: usize = 5;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let images = match list(&root.join("target/linux")) {
        Ok(listing) => listing.images,
        Err(error) => return println!("nothing to measure: {error}"),
    };
    println!("{:<28} {:>7} {:>9} {:>13} {:>13} {:>6}", "image", "points", "loading", "bare", "two walks", "ratio");
    for path in images {
        let start = Instant::now();
        let image = Arc::new(KernelImage::open(&path).expect("the image is read"));
        let loading = start.elapsed();
        let scenarios = image_scenarios(root, &image).expect("the scenarios are sound");
        let scenario = scenarios.iter().find(|scenario| scenario.name.ends_with("/snprintf")).expect("it is there");
        let variant = &scenario.variants()[0];
        let job = Job { root, scenario, variant, kind: scenario.text.interrupt[0] };
        let fastest = |forms: &[OwnForm]| -> (Duration, u64) {
            let run = || {
                let subject =
                    |form: &OwnForm| Box::new(OwnSubject::new(*form, scenario.cpu)) as Box<dyn Subject + Send>;
                let subjects: Subjects = forms.iter().map(subject).collect();
                let (section, ran_for) = job.timed(&subjects).expect("the kernel runs");
                assert_eq!(section.void, None, "{}", section.title());
                (ran_for, section.points)
            };
            (0..SAMPLES).map(|_| run()).min().expect("there are samples")
        };
        // The best-effort form walks twice: from the handler, and from pt_regs.
        let (bare, points) = fastest(&[]);
        let (walked, _) = fastest(&[OwnForm::BestEffort]);
        let per_second = |time: Duration| format!("{:.0}/s", points as f64 / time.as_secs_f64());
        println!(
            "{:<28} {points:>7} {:>7.2} s {:>13} {:>13} {:>6.1}",
            image.release,
            loading.as_secs_f64(),
            per_second(bare),
            per_second(walked),
            walked.as_secs_f64() / bare.as_secs_f64()
        );
    }
}
