//! The numbers of `template.yaml` that determine how an outage proceeds.

/// Returns the value of `name` in the block of a resource, parameter or event, which starts with a line `block:`.
pub fn number(block: &str, name: &str) -> u64 {
    let template = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/template.yaml")).unwrap();
    let mut lines = template.lines().skip_while(|line| line.trim() != format!("{block}:"));
    let first = lines.next().unwrap_or_else(|| panic!("no {block} in template.yaml"));
    let indentation = first.len() - first.trim_start().len();
    let inside = |line: &&str| line.trim().is_empty() || line.len() - line.trim_start().len() > indentation;
    let mut inside = lines.take_while(inside);
    let prefix = format!("{name}: ");
    let value = inside.find_map(|line| line.trim().strip_prefix(&prefix).map(str::to_owned));
    let value = value.unwrap_or_else(|| panic!("no {name} in {block} of template.yaml"));
    value.parse().unwrap_or_else(|_| panic!("{block}.{name}: {value}"))
}
