//! A tree of XML elements with their positions in the text.

use std::ops::Range;
use xmlparser::{ElementEnd, Token, Tokenizer};

/// An element.
#[derive(Debug)]
pub(super) struct XmlElement<'a> {
    /// Name without namespace prefix.
    pub(super) name: &'a str,
    /// Attributes except namespace declarations, as written.
    pub(super) attributes: Vec<(&'a str, &'a str)>,
    /// Position of the start tag.
    pub(super) start_tag: Range<usize>,
    /// Position of the whole element.
    pub(super) span: Range<usize>,
    /// Own text without surrounding white space, unescaped.
    pub(super) text: String,
    pub(super) children: Vec<XmlElement<'a>>,
    /// Whether the element is written as one tag, `<Name/>`.
    pub(super) is_empty_tag: bool,
}

impl XmlElement<'_> {
    /// Returns the text of the first child of this name.
    pub(super) fn child_text(&self, name: &str) -> Option<&str> {
        self.children.iter().find(|child| child.name == name).map(|child| child.text.as_str())
    }
}

/// Parses a document and returns its root element.
///
/// # Errors
/// The text is not well-formed, or it declares entities. The message names the reason.
pub(super) fn parse(text: &str) -> Result<XmlElement<'_>, String> {
    let mut open: Vec<XmlElement<'_>> = Vec::new();
    let mut root = None;
    for token in Tokenizer::from(text) {
        match token.map_err(|error| error.to_string())? {
            Token::ElementStart { local, span, .. } => open.push(XmlElement {
                name: local.as_str(),
                attributes: Vec::new(),
                start_tag: span.range(),
                span: span.range(),
                text: String::new(),
                children: Vec::new(),
                is_empty_tag: false,
            }),
            Token::Attribute { prefix, local, value, .. } => {
                let is_namespace = prefix.as_str() == "xmlns" || (prefix.is_empty() && local.as_str() == "xmlns");
                if let (Some(element), false) = (open.last_mut(), is_namespace) {
                    element.attributes.push((local.as_str(), value.as_str()));
                }
            }
            Token::ElementEnd { end: ElementEnd::Open, span } => {
                if let Some(element) = open.last_mut() {
                    element.start_tag.end = span.end();
                }
            }
            Token::ElementEnd { end, span } => {
                let mut element = open.pop().ok_or("an end tag has no start tag")?;
                element.span.end = span.end();
                match end {
                    ElementEnd::Close(_, local) if local.as_str() != element.name => {
                        return Err(format!("<{}> is closed by </{}>", element.name, local.as_str()));
                    }
                    ElementEnd::Close(..) => {}
                    _ => {
                        element.start_tag.end = span.end();
                        element.is_empty_tag = true;
                    }
                }
                element.text = element.text.trim().to_owned();
                match open.last_mut() {
                    Some(parent) => parent.children.push(element),
                    None => root = Some(element),
                }
            }
            Token::Text { text } => {
                if let Some(element) = open.last_mut() {
                    unescape_into(&mut element.text, text.as_str())?;
                }
            }
            Token::Cdata { text, .. } => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(text.as_str());
                }
            }
            Token::DtdStart { .. } | Token::EmptyDtd { .. } | Token::EntityDeclaration { .. } => {
                return Err("it declares a document type".to_owned());
            }
            Token::Declaration { .. }
            | Token::ProcessingInstruction { .. }
            | Token::Comment { .. }
            | Token::DtdEnd { .. } => {}
        }
    }
    match (root, open.last()) {
        (Some(root), None) => Ok(root),
        (_, Some(element)) => Err(format!("<{}> is not closed", element.name)),
        (None, None) => Err("it contains no element".to_owned()),
    }
}

fn unescape_into(into: &mut String, text: &str) -> Result<(), String> {
    let mut parts = text.split('&');
    into.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (entity, rest) = part.split_once(';').ok_or("an entity has no semicolon")?;
        into.push(character(entity).ok_or_else(|| format!("the entity &{entity}; is not defined"))?);
        into.push_str(rest);
    }
    Ok(())
}

fn character(entity: &str) -> Option<char> {
    Some(match entity {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
    })
}

/// Escapes a text for the content of an element.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // A parser would replace a literal carriage return by a line feed.
            '\r' => escaped.push_str("&#13;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_have_their_positions_and_unescaped_text() {
        let text =
            "<?xml version=\"1.0\"?>\n<a xmlns=\"n\"><b k='v'> x&amp;&#x79;<![CDATA[<z>]]> </b><!-- c --><s:e/></a>";
        let root = parse(text).unwrap();
        assert_eq!(&text[root.start_tag.clone()], "<a xmlns=\"n\">");
        let [b, e] = &root.children[..] else { panic!("{root:?}") };
        assert_eq!((b.name, b.text.as_str(), &b.attributes[..]), ("b", "x&y<z>", &[("k", "v")][..]));
        assert_eq!((e.name, &text[e.span.clone()], e.is_empty_tag), ("e", "<s:e/>", true));
        let mut again = String::new();
        unescape_into(&mut again, &escaped("<&>\r'")).unwrap();
        assert_eq!(again, "<&>\r'");
    }

    #[test]
    fn invalid_documents_are_refused() {
        for text in ["", "<a>", "<a></b>", "</a>", "<a>&x;</a>", "<a>&amp</a>", "<!DOCTYPE a><a/>", "text"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
