//! Evaluates the conditions and functions of a template like CloudFormation, for given parameters. The emulator ignores
//! many properties, so the tests compare what CloudFormation would pass to the services.

#![allow(dead_code)] // Each test program uses a part of this module.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A template without transforms, with values for its parameters.
pub struct Resolved {
    template: Value,
    values: BTreeMap<String, String>,
}

impl Resolved {
    /// Creates it with the defaults of the parameters and these values.
    pub fn new(template: &Value, parameters: &[(&str, &str)]) -> Self {
        let defaults = template["Parameters"].as_object().unwrap().iter();
        let mut values: BTreeMap<_, _> =
            defaults.filter_map(|(name, parameter)| Some((name.clone(), text(parameter.get("Default")?)))).collect();
        let pseudo = [
            ("AWS::AccountId", "111122223333"),
            ("AWS::Partition", "aws"),
            ("AWS::Region", "eu-west-1"),
            ("AWS::StackName", "trailhose"),
            ("AWS::URLSuffix", "amazonaws.com"),
        ];
        for (name, value) in pseudo.iter().chain(parameters) {
            values.insert((*name).to_owned(), (*value).to_owned());
        }
        Self { template: template.clone(), values }
    }

    /// Returns the properties of the resources of a type that exist, by their logical ID.
    pub fn resources(&self, kind: &str) -> BTreeMap<String, Value> {
        let resources = self.template["Resources"].as_object().unwrap().iter();
        let of_kind = resources.filter(|(_, resource)| resource["Type"] == kind);
        let existing = of_kind.filter(|(_, resource)| match resource.get("Condition") {
            Some(condition) => self.condition(condition.as_str().unwrap()),
            None => true,
        });
        existing.map(|(id, resource)| (id.clone(), self.value(&resource["Properties"]).unwrap_or_default())).collect()
    }

    /// Returns the properties of the only resource of a type.
    pub fn resource(&self, kind: &str) -> Value {
        let mut found: Vec<_> = self.resources(kind).into_values().collect();
        assert_eq!(found.len(), 1, "{kind}");
        found.remove(0)
    }

    /// Returns the value of an output.
    pub fn output(&self, name: &str) -> String {
        self.value(&self.template["Outputs"][name]["Value"]).unwrap().as_str().unwrap().to_owned()
    }

    fn condition(&self, name: &str) -> bool {
        self.is_true(&self.template["Conditions"][name])
    }

    fn is_true(&self, condition: &Value) -> bool {
        let (function, argument) = condition.as_object().unwrap().iter().next().unwrap();
        let all = || argument.as_array().unwrap().iter();
        match function.as_str() {
            "Fn::Equals" => {
                self.value(&argument[0]).map(|left| text(&left)) == self.value(&argument[1]).map(|right| text(&right))
            }
            "Fn::Not" => !self.is_true(&argument[0]),
            "Fn::And" => all().all(|each| self.is_true(each)),
            "Fn::Or" => all().any(|each| self.is_true(each)),
            "Condition" => self.condition(argument.as_str().unwrap()),
            other => panic!("{other} in a condition"),
        }
    }

    /// Returns a value without functions, or `None` for `AWS::NoValue`. References to resources are kept.
    fn value(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Array(elements) => Some(elements.iter().filter_map(|element| self.value(element)).collect()),
            Value::Object(object) if object.len() == 1 => {
                let (function, argument) = object.iter().next().unwrap();
                self.function(function, argument).unwrap_or_else(|| Some(self.object(object)))
            }
            Value::Object(object) => Some(self.object(object)),
            other => Some(other.clone()),
        }
    }

    fn object(&self, object: &Map<String, Value>) -> Value {
        object.iter().filter_map(|(name, value)| Some((name.clone(), self.value(value)?))).collect()
    }

    /// Evaluates a function, or returns `None` if this is none of those that are evaluated.
    fn function(&self, function: &str, argument: &Value) -> Option<Option<Value>> {
        let result = match function {
            "Ref" if argument == "AWS::NoValue" => None,
            "Ref" => Some(Value::from(self.values.get(argument.as_str()?)?.as_str())),
            "Fn::If" => {
                let branch = if self.condition(argument[0].as_str()?) { &argument[1] } else { &argument[2] };
                self.value(branch)
            }
            "Fn::FindInMap" => {
                let [map, first, second] = [0, 1, 2].map(|index| self.value(&argument[index]).map(|name| text(&name)));
                Some(self.template["Mappings"][map?][first?][second?].clone())
            }
            "Fn::Split" => {
                let list = text(&self.value(&argument[1])?);
                Some(list.split(argument[0].as_str()?).collect())
            }
            "Fn::Select" => {
                let index: usize = text(&argument[0]).parse().ok()?;
                Some(self.value(&argument[1])?[index].clone())
            }
            "Fn::Sub" => {
                let (pattern, own) = match argument {
                    Value::Array(pair) => (pair[0].as_str()?, pair[1].as_object().cloned()?),
                    pattern => (pattern.as_str()?, Map::new()),
                };
                let mut result = pattern.to_owned();
                for (name, value) in own {
                    result = result.replace(&format!("${{{name}}}"), &text(&self.value(&value)?));
                }
                for (name, value) in &self.values {
                    result = result.replace(&format!("${{{name}}}"), value);
                }
                Some(result.into())
            }
            _ => return None,
        };
        Some(result)
    }
}

/// Returns a scalar as CloudFormation passes it in a string.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
