//! Questions on a terminal. Each has a default, which an empty line accepts.

use std::io::{BufRead, Write};

/// Asks questions, and counts them.
pub(super) struct Questions<'a> {
    input: &'a mut dyn BufRead,
    output: &'a mut dyn Write,
    asked: usize,
}

impl<'a> Questions<'a> {
    pub(super) fn new(input: &'a mut dyn BufRead, output: &'a mut dyn Write) -> Self {
        Self { input, output, asked: 0 }
    }

    /// Returns the number of questions so far. A question that is repeated after an invalid answer counts once.
    pub(super) fn asked(&self) -> usize {
        self.asked
    }

    /// Asks for a text until `check` accepts it.
    pub(super) fn text(
        &mut self,
        question: &str,
        default: &str,
        check: impl Fn(&str) -> Result<(), &'static str>,
    ) -> Result<String, String> {
        self.asked += 1;
        let shown = if default.is_empty() { "none" } else { default };
        loop {
            let answer = self.line(&format!("{question} [{shown}]: "))?;
            let answer = if answer.is_empty() { default } else { &answer };
            match check(answer) {
                Ok(()) => return Ok(answer.to_owned()),
                Err(expected) => self.say(&format!("  expected {expected}\n"))?,
            }
        }
    }

    /// Asks for one of several options, and returns its index. The first one is the default.
    pub(super) fn choice(&mut self, question: &str, options: &[String]) -> Result<usize, String> {
        for (index, option) in options.iter().enumerate() {
            self.say(&format!("  {}  {option}\n", index + 1))?;
        }
        let number = |text: &str| text.parse().ok().filter(|number| (1..=options.len()).contains(number));
        let check = |text: &str| number(text).map(|_| ()).ok_or("one of the numbers");
        let answer = self.text(question, "1", check)?;
        Ok(number(&answer).unwrap_or(1) - 1)
    }

    /// Asks for yes or no. The default is yes.
    pub(super) fn confirm(&mut self, question: &str) -> Result<bool, String> {
        let check = |text: &str| match text {
            "yes" | "y" | "no" | "n" => Ok(()),
            _ => Err("yes or no"),
        };
        Ok(self.text(question, "yes", check)?.starts_with('y'))
    }

    fn line(&mut self, prompt: &str) -> Result<String, String> {
        self.say(prompt)?;
        let mut line = String::new();
        match self.input.read_line(&mut line) {
            Ok(0) => Err("standard input ended before all questions were answered; nothing was written".into()),
            Ok(_) => Ok(line.trim().to_owned()),
            Err(error) => Err(format!("cannot read the answer: {error}")),
        }
    }

    fn say(&mut self, text: &str) -> Result<(), String> {
        let written = self.output.write_all(text.as_bytes()).and_then(|()| self.output.flush());
        written.map_err(|error| format!("cannot print the question: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_line_accepts_the_default_and_an_invalid_answer_is_asked_again() {
        let (mut input, mut output) = (&b"\nfour\n2\nmaybe\nn\n"[..], Vec::new());
        let mut questions = Questions::new(&mut input, &mut output);
        assert_eq!(questions.text("Stack name", "trailhose", |_| Ok(())).unwrap(), "trailhose");
        assert_eq!(questions.choice("Bucket", &["a".into(), "b".into()]).unwrap(), 1);
        assert!(!questions.confirm("Add it?").unwrap());
        assert!(questions.confirm("More?").unwrap_err().contains("nothing was written"));
        assert_eq!(questions.asked(), 4);
        let output = String::from_utf8(output).unwrap();
        assert!(output.contains("  2  b\nBucket [1]:   expected one of the numbers\nBucket [1]: "), "{output}");
    }
}
