//! What a run over kernel images leaves out.

use std::sync::Arc;

use super::Planned;
use crate::linux::{KernelImage, state};
use crate::recording::{Section, Skip};
use crate::scenario::Scenario;

/// Of each image, the subjects that it has not; then the runs of images that were not judged. `unwinders` are those that are asked for;
/// none: all.
pub(super) fn of(planned: &[Planned], sections: &[Section], unwinders: &[String]) -> Vec<Skip> {
    let mut skips = Vec::new();
    let mut seen: Vec<&Arc<KernelImage>> = Vec::new();
    for scenario in planned.iter().map(|planned| &*planned.scenario) {
        if let Some(image) = scenario.image()
            && !seen.iter().any(|seen| Arc::ptr_eq(seen, image))
        {
            seen.push(image);
            skips.extend(subjects(scenario, image, unwinders));
        }
    }
    let is_of_image = |section: &&Section| {
        let of = |planned: &Planned| planned.scenario.image().is_some() && planned.scenario.name == section.scenario;
        planned.iter().any(of)
    };
    for section in sections.iter().filter(is_of_image) {
        skips.extend(section.not_judged.as_ref().map(|reason| Skip::failed(section.title(), reason)));
    }
    skips
}

/// The subjects that an image has not.
fn subjects(scenario: &Scenario, image: &KernelImage, unwinders: &[String]) -> Vec<Skip> {
    let cpu = scenario.cpu;
    let is_wanted = |name: &str| unwinders.is_empty() || unwinders.iter().any(|wanted| wanted == name);
    let mut skips = Vec::new();
    for (subject, reason) in state::absent(image) {
        let models = || cpu.models.reliable.into_iter().chain([cpu.models.best_effort]);
        let names: Vec<&str> = subject.map_or_else(|| models().collect(), |subject| vec![subject]);
        for name in names.into_iter().filter(|name| is_wanted(name)) {
            skips.push(Skip::absent(format!("{name} in {} ({})", image.release, cpu.name), reason.clone()));
        }
    }
    skips
}
