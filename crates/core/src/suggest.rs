//! Suggests the name that was probably intended in place of an unknown one.

/// Returns the name that is most similar to `text`: equal except for upper and lower case, or with at most two letters
/// changed, added, removed or swapped (one in a name of up to five letters). `None` if no name is that similar.
pub fn similar<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let text = text.to_lowercase();
    let allowed = if text.chars().count() <= 5 { 1 } else { 2 };
    let distances = names.into_iter().map(|name| (strsim::osa_distance(&text, &name.to_lowercase()), name));
    distances.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Returns `; did you mean NAME?` for the most similar name, or nothing.
pub fn did_you_mean<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    similar(text, names).map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_suggested_and_distant_names_are_not() {
        let names = ["eventSource", "eventName", "readOnly"];
        for (text, name) in [
            ("eventsource", Some("eventSource")),
            ("evnetName", Some("eventName")),
            ("readonly", Some("readOnly")),
            ("eventNames", Some("eventName")),
            ("nosuchField", None),
            ("", None),
        ] {
            assert_eq!(similar(text, names), name, "{text}");
        }
        assert_eq!(did_you_mean("x", names), "");
    }
}
