//! Whether people can read the page, and find their way in it.

use serde_json::json;

use super::{WIDTHS, browser, whole};

/// The parts that are opened where something is measured: a small scenario, one with many designs, and everything in them.
const OPEN: &str = "for (const name of ['arm64/leaf', 'arm64/fgraph', 'x86_64/fgraph'])
    document.getElementById(name).open = true;
for (const fold of document.querySelectorAll('details:not(.scenario)')) fold.open = true;
new Promise(done => setTimeout(done, 500))";

/// Of each text that is seen, its contrast with the colour behind it, if that is below 4.5 (WCAG 2.1, 1.4.3).
const FAINT: &str = r"(() => {
    const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
    const over = (top, below) => Object.fromEntries(['r', 'g', 'b'].map((c) => [c, top[c] * top.a + below[c] * (1 - top.a)]).concat([['a', 1]]));
    const light = ({ r, g, b }) => [r, g, b].map((v) => v / 255)
        .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (element) => {
        const layers = [];
        for (; element; element = element.parentElement) layers.push(parse(getComputedStyle(element).backgroundColor));
        return layers.reverse().reduce((below, top) => over(top, below), { r: 255, g: 255, b: 255, a: 1 });
    };
    const seen = new Map();
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let count = 0;
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || !element.checkVisibility() || element.closest('script, option')) continue;
        count += 1;
        const style = getComputedStyle(element);
        const ground = behind(element);
        const [one, other] = [light(over(parse(style.color), ground)), light(ground)].sort((a, b) => b - a);
        const ratio = (one + 0.05) / (other + 0.05);
        if (ratio < 4.5) seen.set(`${element.tagName}.${element.className}`, `${ratio.toFixed(2)} ${texts.currentNode.data.trim().slice(0, 20)}`);
    }
    return { count, faint: [...seen] };
})()";

#[test]
fn the_page_itself_never_scrolls_sideways() {
    let Some(mut browser) = browser("html::the_page_itself_never_scrolls_sideways") else { return };
    for width in WIDTHS {
        browser.open(&whole(), "", width);
        let wide = "[innerWidth, document.documentElement.scrollWidth]";
        assert_eq!(browser.eval(wide), json!([width, width]), "folded");
        browser.eval(OPEN);
        assert_eq!(browser.eval(wide), json!([width, width]), "unfolded");
        browser.eval("document.getElementById('arm64/fgraph').querySelector('.strip').scrollIntoView()");
        browser.eval("new Promise(done => setTimeout(done, 500))");
        assert!(browser.eval("document.querySelectorAll('.listing').length").as_u64() > Some(0));
        assert_eq!(browser.eval(wide), json!([width, width]), "with listings");
    }
    assert_eq!(browser.exceptions, Vec::<String>::new());
}

#[test]
fn the_instruction_column_stays_when_a_listing_scrolls() {
    let Some(mut browser) = browser("html::the_instruction_column_stays_when_a_listing_scrolls") else { return };
    browser.open(&whole(), "#arm64/fgraph/F0/irq/return_to_handler+0x0", 400);
    let row = "document.querySelector('tr.target')";
    let before = browser.eval(&format!("{row}.cells[0].getBoundingClientRect().left"));
    browser.eval(&format!("{row}.closest('.scroll').scrollLeft = 80"));
    assert_eq!(browser.eval(&format!("{row}.closest('.scroll').scrollLeft")), 80, "there is more than is seen");
    assert_eq!(browser.eval(&format!("{row}.cells[0].getBoundingClientRect().left")), before);
    let text = browser.eval(&format!("{row}.cells[0].innerText"));
    assert!(text.as_str().is_some_and(|text| text.contains("sub") && text.contains("+0x0")), "{text}");
}

#[test]
fn text_has_contrast_in_both_schemes() {
    let Some(mut browser) = browser("html::text_has_contrast_in_both_schemes") else { return };
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.scheme(scheme);
        browser.open(&whole(), "#arm64/fgraph/F0/irq/return_to_handler+0x0", 1400);
        browser.eval(OPEN);
        let found = browser.eval(FAINT);
        assert!(found["count"].as_u64() > Some(3000), "{found}");
        assert_eq!(found["faint"], json!([]), "{scheme}");
        grounds.push(browser.eval("getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(grounds[0], grounds[1], "the scheme changes the page");
}

#[test]
fn links_lead_somewhere() {
    let Some(mut browser) = browser("html::links_lead_somewhere") else { return };
    browser.open(&whole(), "", 1400);
    let broken = browser.eval(
        "(() => {
            const data = JSON.parse(document.getElementById('data').textContent);
            const places = new Set();
            for (const strip of document.querySelectorAll('.strip')) {
                const offsets = data.listings[strip.dataset.l].split('\\n').filter(Boolean).map((line) => line.split(' ')[0]);
                for (const kind of strip.dataset.k.split(' ')) for (const offset of offsets) {
                    places.add(`${strip.closest('.variant').dataset.a}/${kind}/${strip.parentElement.dataset.f}+0x${offset}`);
                }
            }
            const links = [...document.querySelectorAll('a[href]')].map((link) => link.getAttribute('href'));
            // And each cell of the windows.
            for (const row of document.querySelectorAll('table.windows tbody tr')) {
                const name = row.closest('table').dataset.f;
                links.push(...[...row.querySelectorAll('[data-l]')].map((cell) => `#${cell.dataset.l}`));
                links.push(...row.dataset.o.split(',').filter(Boolean).map((offset) => `#${row.dataset.a}/${name}+0x${offset}`));
            }
            return { count: links.length, broken: links.filter((link) =>
                !link.startsWith('#') || !(document.getElementById(link.slice(1)) || places.has(link.slice(1)))) };
        })()",
    );
    assert!(broken["count"].as_u64() > Some(5000), "{broken}");
    assert_eq!(broken["broken"], json!([]));
}

#[test]
fn a_link_to_an_instruction_opens_its_listing() {
    let Some(mut browser) = browser("html::a_link_to_an_instruction_opens_its_listing") else { return };
    for (link, text) in [
        ("#arm64/leaf/probe/leaf+0x8", "+0x8"),
        ("#arm64/fgraph/F0/nmi/return_to_handler+0x20", "+0x20"),
        ("#x86_64/leaf/probe/leaf+0x0", "+0x0"),
    ] {
        browser.open(&whole(), link, 1400);
        browser.eval("new Promise(done => setTimeout(done, 600))");
        let found = browser.eval(
            "(() => {
                const rows = document.querySelectorAll('tr.target');
                const { top, bottom } = rows[0].getBoundingClientRect();
                return { count: rows.length, text: rows[0].cells[0].innerText, isSeen: top >= 0 && bottom <= innerHeight };
            })()",
        );
        assert_eq!((&found["count"], &found["isSeen"]), (&json!(1), &json!(true)), "{link}: {found}");
        assert!(found["text"].as_str().is_some_and(|found| found.starts_with(text)), "{link}: {found}");
    }
    // A window leads to the listing of its trampoline, or to that of the function for which it waits.
    for cell in ["td.wu:not(.only):not([data-l])", "td.wu[data-l]"] {
        browser.open(&whole(), "", 1400);
        browser.eval(&format!("document.querySelector('table.windows {cell}').click()"));
        browser.eval("new Promise(done => setTimeout(done, 600))");
        let hash = browser.eval("decodeURIComponent(location.hash)");
        assert!(hash.as_str().is_some_and(|hash| hash.contains("+0x")), "{hash}");
        assert_eq!(browser.eval("document.querySelectorAll('tr.target').length"), 1, "{hash}");
    }
}

#[test]
fn the_keyboard_reaches_everything() {
    let Some(mut browser) = browser("html::the_keyboard_reaches_everything") else { return };
    browser.open(&whole(), "", 1400);
    let focus = "document.activeElement.name || document.activeElement.className || document.activeElement.tagName
        + '.' + document.activeElement.closest('table')?.className";
    let mut reached = Vec::new();
    for _ in 0..60 {
        browser.press("Tab");
        reached.push(browser.eval(focus).as_str().unwrap_or_default().to_owned());
    }
    for name in ["skip", "cpu", "unwinder", "kind", "verdict", "name", "scroll"] {
        assert!(reached.iter().any(|found| found == name), "{name}: {reached:?}");
    }
    assert!(reached.iter().any(|found| found.ends_with(".matrix grid")), "a cell of the matrix: {reached:?}");
    assert!(reached.iter().any(|found| found.starts_with("w w")), "a cell of the windows: {reached:?}");
    // In the matrix, the arrow keys move, and Enter opens the scenario.
    browser.eval("document.querySelector('.matrix [tabindex=\"0\"]').focus()");
    browser.press("ArrowDown");
    browser.press("Enter");
    let opened = browser.eval("[location.hash, document.querySelectorAll('.scenario[open]').length]");
    assert!(opened[0].as_str().is_some_and(|hash| hash.starts_with("#arm64/")) && opened[1] == 1, "{opened}");
    // In a listing: Tab to a cell, arrows, Enter, Escape.
    browser.open(&whole(), "#arm64/leaf/probe/leaf+0x8", 1400);
    browser.eval("document.querySelector('tr.target').closest('table').querySelector('td[tabindex=\"0\"]').focus()");
    let place = "[document.activeElement.parentElement.rowIndex, document.activeElement.cellIndex]";
    let start: Vec<u64> = serde_json::from_value(browser.eval(place)).expect("two numbers");
    browser.press("ArrowDown");
    browser.press("ArrowRight");
    assert_eq!(browser.eval(place), json!([start[0] + 1, start[1] + 1]));
    browser.press("Enter");
    assert_eq!(browser.eval("document.activeElement.textContent"), "Close");
    let command = browser.eval("document.querySelector('#point code:last-of-type, #point .command code').textContent");
    assert!(command.as_str().is_some_and(|text| text.contains('+')), "{command}");
    browser.press("Escape");
    assert_eq!(browser.eval("document.getElementById('point')"), json!(null));
    assert_eq!(browser.eval(place), json!([start[0] + 1, start[1] + 1]), "the focus is back");
}

#[test]
fn the_page_is_readable_without_scripts() {
    let Some(mut browser) = browser("html::the_page_is_readable_without_scripts") else { return };
    browser.scripts(false);
    browser.open(&whole(), "", 400);
    let text = browser.eval("document.body.innerText");
    let text = text.as_str().expect("a text");
    for words in ["All gates hold", "arm64-sframe", "return_to_handler", "x86-orc", "Expected", "Exempt"] {
        assert!(text.contains(words), "{words}");
    }
    assert_eq!(
        browser.eval("document.getElementById('filters').checkVisibility()"),
        false,
        "nothing that does nothing"
    );
    browser.eval("document.getElementById('arm64/leaf').open = true");
    let strip = browser.eval("document.getElementById('arm64/leaf').querySelector('.strip pre').innerText");
    assert!(strip.as_str().is_some_and(|strip| strip.starts_with("+0x0")), "{strip}");
    assert_eq!(browser.eval("[innerWidth, document.documentElement.scrollWidth]"), json!([400, 400]));
}

#[test]
fn the_page_asks_for_nothing_else() {
    let Some(mut browser) = browser("html::the_page_asks_for_nothing_else") else { return };
    browser.open(&whole(), "", 1400);
    browser.eval(OPEN);
    let outside: Vec<&String> =
        browser.requests.iter().filter(|url| !url.starts_with("\"file:") && !url.starts_with("\"about:")).collect();
    assert_eq!(outside, Vec::<&String>::new());
    assert!(browser.requests.iter().any(|url| url.contains("report.html")), "requests are seen");
    assert_eq!(browser.exceptions, Vec::<String>::new());
}
