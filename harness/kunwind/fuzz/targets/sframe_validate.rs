//! Validates arbitrary bytes by every profile. What the specification allows can be read without an error.
#![no_main]

use kunwind::sframe::{Profile, SFrameSection, Severity, Surroundings, validate};
use libfuzzer_sys::fuzz_target;

const ADDRESS: u64 = 0x2000;

fuzz_target!(|data: &[u8]| {
    let text = 0x1000..0x2000;
    for profile in [Profile::Spec, Profile::Lenient, Profile::Kernel] {
        for text in [&[][..], std::slice::from_ref(&text)] {
            let (mut is_valid, mut findings) = (true, 0_usize);
            let surroundings = Surroundings { address: Some(ADDRESS), text, abi: None };
            validate(data, &surroundings, profile, &mut |finding| {
                is_valid &= finding.severity == Severity::Note;
                findings += 1;
            });
            assert!(findings <= 16 * data.len() + 16, "{findings} findings");
            if is_valid && profile != Profile::Kernel && !data.is_empty() {
                let section = SFrameSection::parse(data, ADDRESS).expect("a valid header");
                for function in section.functions().take(256) {
                    for fre in function.expect("a valid function").fres() {
                        fre.expect("a valid row").entry().expect("valid rules");
                    }
                }
            }
        }
    }
});
