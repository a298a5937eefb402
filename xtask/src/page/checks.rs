//! What the browser has to find, and what it must not.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};

use super::browser::{Browser, Look, Said};
use crate::fresh::step::Log;

/// A page with a script that speaks, something that is loaded, and more than fits.
const FAULTY: &str = "<!DOCTYPE html><title>x</title><script>console.log(1)</script>\
    <img src=\"http://192.0.2.1/x.png\"><p style=\"width:5000px\">x</p>";

/// Each fault that is looked for is found where it is.
pub(super) fn find_known_faults(browser: &Browser<'_>, log: &Log) -> Result<()> {
    write(browser, "faulty.html", FAULTY)?;
    let (said, _) = browser.draw("faulty", Look::Light(360), log)?;
    ensure!(!said.console.is_empty(), "a script said nothing on the console");
    ensure!(!said.requests.is_empty(), "a picture from elsewhere was not requested");
    ensure!(nothing_is_cut_off(browser, "faulty", log).is_err(), "what is too wide was not found");
    ensure!(
        elements_are_those_written(browser, "faulty", log).is_err(),
        "a script and a picture were taken for what we write"
    );
    Ok(())
}

fn write(browser: &Browser<'_>, name: &str, text: &str) -> Result<()> {
    let path = browser.pictures.join(name);
    fs::write(&path, text).with_context(|| path.display().to_string())
}

/// Every element that a page may have, as the tests of the pages have it.
const ELEMENTS: &str = include_str!("../../../conntrack/tests/support/page-elements.txt");

/// The browser's tree has each element that stands in the page, no other, and none that runs or loads something:
/// no text became one.
pub(super) fn elements_are_those_written(
    browser: &Browser<'_>,
    name: &str,
    _log: &Log,
) -> Result<()> {
    let page = browser.pictures.join(format!("{name}.html"));
    let written = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let said = browser.open(&format!("{name}.html"), &["--dump-dom".to_owned()])?;
    let (written, found) = (elements(&written), elements(&said.output));
    for element in found.keys() {
        let is_known = ELEMENTS.split_whitespace().any(|it| it == element);
        ensure!(is_known, "{name}: there is an element {element}");
    }
    let tags = said.output.split('<').skip(1).filter_map(|it| it.split('>').next());
    for tag in tags {
        let runs =
            tag.split([' ', '/']).skip(1).any(|it| it.to_ascii_lowercase().starts_with("on"));
        ensure!(!runs, "{name}: an attribute runs something: {tag}");
    }
    ensure!(written == found, "{name}: {written:?} are written, and {found:?} are found");
    is_silent(&said)
}

/// How often each element begins.
fn elements(page: &str) -> BTreeMap<String, usize> {
    let mut elements = BTreeMap::new();
    for tag in page.split('<').skip(1) {
        let is_letter = |it: char| it.is_ascii_alphanumeric();
        let name: String = tag.chars().take_while(|it| is_letter(*it)).collect();
        if !name.is_empty() {
            *elements.entry(name.to_ascii_lowercase()).or_default() += 1;
        }
    }
    elements
}

/// Widths of windows, narrow ones too.
const WIDTHS: [u32; 4] = [320, 360, 1_000, 2_000];

/// No window of these widths has to be scrolled sideways, even with everything unfolded.
pub(super) fn nothing_is_cut_off(browser: &Browser<'_>, name: &str, _log: &Log) -> Result<()> {
    let probe = include_str!("probe.html").replace("PAGE", &format!("{name}.html"));
    let probe = probe.replace("WIDTHS", &format!("{WIDTHS:?}"));
    write(browser, "probe.html", &probe)?;
    let arguments = ["--allow-file-access-from-files", "--virtual-time-budget=60000", "--dump-dom"];
    let said = browser.open("probe.html", &arguments.map(str::to_owned))?;
    let found = said.output.split("<body>").nth(1).and_then(|it| it.split("</body>").next());
    let found = found.context("the probe says nothing")?;
    for width in WIDTHS {
        let prefix = format!("{width}: ");
        let needed = found.split(", ").find_map(|it| it.strip_prefix(&prefix));
        let needed: u32 = needed.with_context(|| format!("the probe said {found:?}"))?.parse()?;
        ensure!(needed <= width, "{name} takes {needed} in a window of {width}");
    }
    Ok(())
}

/// Draws a page, and looks that there is a picture.
pub(super) fn draw(browser: &Browser<'_>, name: &str, look: Look, log: &Log) -> Result<()> {
    let (said, picture) = browser.draw(name, look, log)?;
    is_silent(&said)?;
    let length = fs::metadata(&picture).with_context(|| picture.display().to_string())?.len();
    ensure!(length > 1_000, "{} is empty", picture.display());
    Ok(())
}

fn is_silent(said: &Said) -> Result<()> {
    ensure!(said.console.is_empty(), "on the console: {}", said.console.join("; "));
    ensure!(said.requests.is_empty(), "requested: {}", said.requests.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_counted_by_their_beginnings() {
        let counted = elements("<!DOCTYPE html><p class=\"a\">1 &lt;b> </p><BR><p><!-- -->");
        assert_eq!(counted, BTreeMap::from([("br".to_owned(), 1), ("p".to_owned(), 2)]));
    }
}
