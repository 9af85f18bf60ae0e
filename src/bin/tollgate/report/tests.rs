//! The page holds together whatever the log held.

use super::*;
use crate::replay::summary_of_test;

#[test]
fn hostile_text_stays_text() {
    let hostile = "<script>alert('x')\"><img src=x onerror=y>&amp;";
    let page = page(&summary_of_test(hostile)).unwrap().into_string();
    assert!(
        !page.contains("<script") && !page.contains("<img"),
        "{page}"
    );
    // Each place that shows text from outside shows it, escaped.
    let escaped = "&lt;script&gt;alert('x')&quot;&gt;&lt;img src=x onerror=y&gt;&amp;amp;";
    assert_eq!(page.matches(escaped).count(), 46, "{page}");
    for tag in ["section", "table", "tr", "td", "svg", "div", "figure", "li"] {
        let opened =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let page = page(&summary_of_test("plain")).unwrap().into_string();
    for reference in ["src=", "href=", "url(", "@import", "<link", "<script"] {
        assert!(!page.contains(reference), "{reference}");
    }
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("width=device-width"));
}

#[test]
fn a_page_replaces_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.html");
    for name in ["first", "second"] {
        write(&summary_of_test(name), &path).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains(name));
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    assert!(
        write(
            &summary_of_test("x"),
            &directory.path().join("none/report.html")
        )
        .is_err()
    );
}
