//! The files of the console, which the program contains. They need no build step and load nothing from another server.

/// A file of the console.
#[derive(Debug)]
pub(crate) struct ConsoleFile {
    /// The path of its URL.
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: &'static str,
}

/// The policy that the browser applies to each file: scripts and styles of this server only, none in the page itself, and no
/// frames. If a defect added a value of an event to the page as an element, it could neither run scripts nor send
/// anything to another server.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// All files of the console.
pub(crate) const FILES: [ConsoleFile; 13] = [
    file("/", HTML, include_str!("console/index.html")),
    file("/console.css", STYLE, include_str!("console/console.css")),
    file("/console.js", SCRIPT, include_str!("console/console.js")),
    file("/console/api.js", SCRIPT, include_str!("console/api.js")),
    file("/console/ask.js", SCRIPT, include_str!("console/ask.js")),
    file("/console/days.js", SCRIPT, include_str!("console/days.js")),
    file("/console/dom.js", SCRIPT, include_str!("console/dom.js")),
    file("/console/event.js", SCRIPT, include_str!("console/event.js")),
    file("/console/events.js", SCRIPT, include_str!("console/events.js")),
    file("/console/findings.js", SCRIPT, include_str!("console/findings.js")),
    file("/console/sources.js", SCRIPT, include_str!("console/sources.js")),
    file("/console/theme.js", SCRIPT, include_str!("console/theme.js")),
    file("/console/views.css", STYLE, include_str!("console/views.css")),
];

const fn file(path: &'static str, content_type: &'static str, body: &'static str) -> ConsoleFile {
    ConsoleFile { path, content_type, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/console");
        let stored =
            std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
        let served: BTreeSet<_> = FILES.iter().map(|file| file.body.to_owned()).collect();
        assert_eq!(stored.collect::<BTreeSet<_>>(), served);
    }

    #[test]
    fn no_file_loads_a_resource_of_another_server_or_writes_html() {
        for file in FILES {
            let without_icon = file.body.replace("xmlns='http://www.w3.org/2000/svg'", "");
            for forbidden in [
                "src=\"http",
                "href=\"http",
                "@import",
                "url(",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
            ] {
                assert!(!without_icon.contains(forbidden), "{} contains {forbidden}", file.path);
            }
            assert!(!without_icon.contains(" style=\""), "{} contains a style that the policy refuses", file.path);
        }
    }

    #[test]
    fn page_contains_no_inline_script() {
        for element in FILES[0].body.split("<script").skip(1) {
            let (attributes, rest) = element.split_once('>').unwrap();
            assert!(attributes.contains("src=") && rest.starts_with("</script>"), "<script{attributes}>");
        }
    }
}
