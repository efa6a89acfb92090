//! Lists that contain `null` and other values.

use rsigma_parser::{Detection, DetectionItem, SigmaValue};

/// Separates `null` from the other values of a list. `rsigma` compares a missing field with `null` only if the list contains
/// nothing else.
pub(crate) fn separate_nulls(detection: &mut Detection) {
    match detection {
        Detection::AllOf(items) => {
            let mut parts = Vec::new();
            items.retain(|item| {
                let (nulls, others): (Vec<_>, Vec<_>) =
                    item.values.iter().cloned().partition(|value| matches!(value, SigmaValue::Null));
                if nulls.is_empty() || others.is_empty() {
                    return true;
                }
                let part = |values| Detection::AllOf(vec![DetectionItem { field: item.field.clone(), values }]);
                parts.push(Detection::AnyOf(vec![part(nulls), part(others)]));
                false
            });
            if !parts.is_empty() {
                if !items.is_empty() {
                    parts.insert(0, Detection::AllOf(std::mem::take(items)));
                }
                *detection = Detection::And(parts);
            }
        }
        Detection::AnyOf(parts) | Detection::And(parts) => parts.iter_mut().for_each(separate_nulls),
        Detection::Keywords(_) | Detection::ArrayMatch { .. } | Detection::Conditional { .. } => {}
    }
}
