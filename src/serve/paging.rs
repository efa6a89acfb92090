//! Pages of lists: the limit, and the cursor that names the last item of a page.

use super::problem::ApiProblem;
use base64_simd::URL_SAFE_NO_PAD;
use jiff::Timestamp;

/// The default number of items of a page.
const DEFAULT_LIMIT: u32 = 100;

/// The maximum number of items of a page.
const MAX_LIMIT: u32 = 1_000;

/// Returns the number of items of a page.
pub(super) fn limit(requested: Option<u32>) -> Result<u32, ApiProblem> {
    match requested.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        other => Err(ApiProblem::bad_request(format!("limit={other}: expected 1 to {MAX_LIMIT}"))),
    }
}

/// Shortens items to the limit of a page. `items` has one more than the limit if there is a next page. Returns the cursor of the
/// next page, which is the position of the last item.
pub(super) fn next_cursor<T>(
    kind: &str,
    items: &mut Vec<T>,
    limit: u32,
    position: impl FnOnce(&T) -> String,
) -> Option<String> {
    let has_more = items.len() > limit as usize;
    items.truncate(limit as usize);
    items.last().filter(|_| has_more).map(|last| cursor(kind, &position(last)))
}

/// Returns the text of a cursor, which is opaque for clients. `kind` distinguishes the cursors of different lists.
pub(super) fn cursor(kind: &str, position: &str) -> String {
    URL_SAFE_NO_PAD.encode_to_string(format!("{kind}:{position}"))
}

/// Returns the position in a cursor of this kind.
pub(super) fn position(kind: &str, cursor: Option<&str>) -> Result<Option<String>, ApiProblem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let decoded = URL_SAFE_NO_PAD.decode_to_vec(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let position = decoded.as_deref().and_then(|text| text.strip_prefix(kind)?.strip_prefix(':'));
    position.map(|position| Some(position.to_owned())).ok_or_else(invalid_cursor)
}

/// Returns the error for an invalid cursor and for a cursor of another list.
pub(super) fn invalid_cursor() -> ApiProblem {
    ApiProblem::bad_request("the cursor is invalid: use next_cursor of the page before, with the same conditions")
}

/// Parses the number in a cursor.
pub(super) fn number(kind: &str, cursor: Option<&str>) -> Result<Option<i64>, ApiProblem> {
    position(kind, cursor)?.map(|text| text.parse().map_err(|_| invalid_cursor())).transpose()
}

/// Parses the included start of a time span in RFC 3339, and returns it in seconds since 1970.
pub(super) fn start_second(name: &str, text: Option<&str>) -> Result<Option<i64>, ApiProblem> {
    Ok(timestamp(name, text)?.map(Timestamp::as_second))
}

/// Parses the excluded end of a time span in RFC 3339, and returns it in seconds since 1970. A fraction is rounded up.
pub(super) fn end_second(name: &str, text: Option<&str>) -> Result<Option<i64>, ApiProblem> {
    Ok(timestamp(name, text)?.map(crate::index::end_second))
}

fn timestamp(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, ApiProblem> {
    let Some(text) = text else { return Ok(None) };
    let time = text.parse::<Timestamp>().map_err(|_| {
        ApiProblem::bad_request(format!("{name}: expected a time as in RFC 3339, for example 2026-11-01T00:00:00Z"))
    })?;
    Ok(Some(time))
}

/// Renders seconds since 1970 in RFC 3339.
pub(super) fn rfc3339(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| String::new(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fraction_of_the_end_is_rounded_up_and_of_the_start_down() {
        let time = Some("2026-11-01T10:00:00.25Z");
        assert_eq!(start_second("since", time).unwrap(), Some(1_793_527_200));
        assert_eq!(end_second("until", time).unwrap(), Some(1_793_527_201));
        assert!(end_second("until", Some("soon")).is_err());
    }

    #[test]
    fn cursors_of_other_lists_and_changed_cursors_are_refused() {
        let text = cursor("runs", "17");
        assert_eq!(number("runs", Some(&text)).unwrap(), Some(17));
        assert_eq!(number("runs", None).unwrap(), None);
        for (kind, text) in [("alerts", &*text), ("runs", "%%"), ("runs", ""), ("runs", &cursor("runs", "x"))] {
            assert!(number(kind, Some(text)).is_err(), "{kind} {text}");
        }
    }
}
