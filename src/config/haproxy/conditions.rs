//! `.if`, `.elif`, `.else`, `.endif`: which lines of a file are there.

use super::super::words::shown;
use super::environment::Environment;
use super::expression;

/// The blocks that are open, the innermost last.
#[derive(Debug, Default)]
pub(super) struct Conditions(Vec<Branching>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Branching {
    state: BranchState,
    in_else: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BranchState {
    /// No branch was taken yet.
    Waits,
    /// This branch is taken.
    Taken,
    /// Another branch was taken, or the block is within one that is not.
    Over,
}

impl Conditions {
    /// Whether the lines here are there.
    pub(super) fn hold(&self) -> bool {
        self.0.last().is_none_or(|block| block.state == BranchState::Taken)
    }

    pub(super) fn is_open(&self) -> bool {
        !self.0.is_empty()
    }

    /// Obeys one of the four words; `rest` is what follows it. `None`: it is another word.
    ///
    /// # Errors
    /// HAProxy's sentence. What follows is read on as if the word were right.
    pub(super) fn obey(&mut self, word: &str, rest: &[&str], environment: &Environment) -> Option<Result<(), String>> {
        Some(match word {
            ".if" => self.begin(rest, environment),
            ".elif" => self.otherwise_if(rest, environment),
            ".else" => self.otherwise().and_then(|()| alone(word, rest)),
            ".endif" if self.0.pop().is_none() => Err(lone(word)),
            ".endif" => alone(word, rest),
            _ => return None,
        })
    }

    fn begin(&mut self, rest: &[&str], environment: &Environment) -> Result<(), String> {
        let mut block = Branching { state: BranchState::Over, in_else: false };
        let told = if self.0.len() + 1 >= MOST_NESTED {
            Err(format!("too many nested '.if', max is {MOST_NESTED}."))
        } else if self.hold() {
            block.decide(".if", rest, environment)
        } else {
            Ok(())
        };
        self.0.push(block);
        told
    }

    fn otherwise_if(&mut self, rest: &[&str], environment: &Environment) -> Result<(), String> {
        let block = self.0.last_mut().ok_or_else(|| lone(".elif"))?;
        if block.in_else {
            return Err("'.elif' after '.else' is not permitted.".to_owned());
        }
        match block.state {
            BranchState::Waits => block.decide(".elif", rest, environment),
            BranchState::Taken | BranchState::Over => {
                block.state = BranchState::Over;
                Ok(())
            }
        }
    }

    fn otherwise(&mut self) -> Result<(), String> {
        let block = self.0.last_mut().ok_or_else(|| lone(".else"))?;
        if block.in_else {
            return Err("'.else' after '.else' is not permitted.".to_owned());
        }
        block.in_else = true;
        block.state = if block.state == BranchState::Waits { BranchState::Taken } else { BranchState::Over };
        Ok(())
    }
}

impl Branching {
    /// The words of a condition are put together again, with one blank between two.
    fn decide(&mut self, word: &str, rest: &[&str], environment: &Environment) -> Result<(), String> {
        let decided = expression::holds(&rest.join(" "), environment);
        self.state = if decided == Ok(true) { BranchState::Taken } else { BranchState::Waits };
        decided.map(drop).map_err(|error| format!("{error} in '{word}' at position {}", error.at + 1))
    }
}

fn lone(word: &str) -> String {
    format!("lone '{word}' with no matching '.if'.")
}

fn alone(word: &str, rest: &[&str]) -> Result<(), String> {
    rest.first()
        .filter(|argument| !argument.is_empty())
        .map_or(Ok(()), |argument| Err(format!("Unexpected argument '{}' for '{word}'.", shown(argument))))
}

const MOST_NESTED: usize = 100;
