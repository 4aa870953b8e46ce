//! A tree to a checked filter: names resolved, arguments counted, literals given the type of their field. Every problem
//! is found in one pass; a part that is wrong is left out, and what is around it is still looked at.

mod compare;
pub(crate) mod function;
mod literal;

use std::ops::{Range, RangeInclusive};

use crate::filter::Mode;
use crate::filter::checked::Condition;
use crate::filter::eval::text::Words;
use crate::filter::field::{self, Column, Field, Group};
use crate::filter::suggest::nearest;
use crate::filter::tree::{Call, Kind, Node};
use crate::model::problem::Problem;
use function::{Function, Operator};

/// Checks a tree.
pub(crate) fn check(tree: &Node, mode: Mode, problems: &mut Vec<Problem>) -> Option<Condition> {
    Checker { mode, problems }.condition(tree)
}

struct Checker<'p> {
    mode: Mode,
    problems: &'p mut Vec<Problem>,
}

impl Checker<'_> {
    fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Says, in strict mode, that the hosted service takes something else.
    fn hosted(&mut self, span: &Range<usize>, what: impl Into<String>, instead: Option<String>) {
        if self.mode == Mode::Lenient {
            return;
        }
        let problem = Problem::warning("hosted-refuses", span.clone(), what);
        self.report(match instead {
            Some(instead) => problem.hint(instead),
            None => problem,
        });
    }

    fn condition(&mut self, node: &Node) -> Option<Condition> {
        match &node.kind {
            Kind::Call(call) => self.call(call, node),
            Kind::Bad => None,
            kind => {
                let problem = Problem::error("not-a-condition", node.span.clone(), "a condition is expected here");
                self.report(match kind {
                    Kind::Word(word) | Kind::Text(word) if Field::parse(word).is_some() => {
                        problem.hint(format!("compare the field with something, as in eq({word}, \"value\")"))
                    }
                    Kind::Text(_) => problem.hint("to look for text anywhere write search(\"text\")"),
                    _ => problem.hint("a condition is a call, such as eq(name, \"agent\")"),
                });
                None
            }
        }
    }

    fn call(&mut self, call: &Call, node: &Node) -> Option<Condition> {
        let Some(function) = Function::parse(&call.name) else {
            self.unknown_function(call);
            return None;
        };
        if call.name.chars().any(char::is_uppercase) {
            let lower = call.name.to_lowercase();
            self.hosted(
                &call.name_span,
                "the hosted service may refuse capitals here",
                Some(format!("write `{lower}`")),
            );
        }
        if !self.counts(function, call, node) {
            return None;
        }
        match (function, call.args.as_slice()) {
            (Function::And, parts) => {
                let parts = self.conditions(parts)?;
                self.one_row(&parts, call);
                Some(Condition::And(parts.into()))
            }
            (Function::Or, parts) => self.conditions(parts).map(|parts| Condition::Or(parts.into())),
            (Function::Not, [inner]) => {
                let instead = "use neq or notlike";
                self.hosted(&call.name_span, "the hosted service refuses `not` on runs", Some(instead.into()));
                Some(Condition::Not(Box::new(self.condition(inner)?)))
            }
            (Function::Search, [words]) => self.words(words),
            (Function::Search, [field, operand]) => {
                let instead = "write search(\"text\") without a field, or like(field, \"%text%\")";
                self.hosted(
                    &call.name_span,
                    "the hosted service may refuse `search` with a field",
                    Some(instead.into()),
                );
                self.compare(Operator::Search, call, field, operand)
            }
            (Function::Compare(operator), [field, operand]) => self.compare(operator, call, field, operand),
            _ => None,
        }
    }

    /// Checks all parts, also behind a wrong one.
    fn conditions(&mut self, parts: &[Node]) -> Option<Vec<Condition>> {
        let found: Vec<Option<Condition>> = parts.iter().map(|part| self.condition(part)).collect();
        found.into_iter().collect()
    }

    fn unknown_function(&mut self, call: &Call) {
        let problem =
            Problem::error("unknown-function", call.name_span.clone(), format!("there is no function `{}`", call.name));
        let nearest = nearest(&call.name, function::names());
        self.report(match (function::foreign(&call.name), nearest) {
            (Some(hint), _) => problem.hint(hint),
            (None, Some(nearest)) => problem.hint(format!("did you mean `{nearest}`?")),
            (None, None) => {
                problem.hint(format!("the functions are {}", function::names().collect::<Vec<_>>().join(", ")))
            }
        });
        for arg in &call.args {
            if matches!(arg.kind, Kind::Call(_)) {
                self.condition(arg);
            }
        }
    }

    fn counts(&mut self, function: Function, call: &Call, node: &Node) -> bool {
        let (arity, given) = (function.arity(), call.args.len());
        if arity.contains(&given) {
            return true;
        }
        let message = format!("`{}` takes {}, and is given {given}", call.name, plural(&arity));
        let problem = Problem::error("wrong-arity", node.span.clone(), message);
        self.report(match function {
            Function::And | Function::Or => problem.hint("write conditions inside, such as eq(name, \"agent\")"),
            Function::Not => problem.hint("to negate several conditions write not(or(first, second))"),
            Function::Search => problem.hint("write search(\"text\"), or search(field, \"text\")"),
            Function::Compare(Operator::Eq | Operator::Has | Operator::In) if given > 2 => {
                problem.hint("to compare with several values write in(field, [first, second])")
            }
            Function::Compare(_) => problem.hint(format!("write {}(field, value)", call.name)),
        });
        false
    }

    fn words(&mut self, node: &Node) -> Option<Condition> {
        let words = match literal::text(node) {
            Some(text) => Words::new(text),
            None if node.kind == Kind::Bad => return None,
            None => {
                let problem = Problem::error("wrong-type", node.span.clone(), "`search` looks for text");
                self.report(problem.hint("write it in quotes: search(\"text\")"));
                return None;
            }
        };
        if words.text().trim().is_empty() {
            self.report(Problem::error("empty-search", node.span.clone(), "`search` needs a word to look for"));
            return None;
        }
        Some(Condition::Words(Box::new(words)))
    }

    /// Finds the field of a comparison.
    fn field(&mut self, node: &Node, operand: &Node) -> Option<Field> {
        let name = match &node.kind {
            Kind::Bad => return None,
            Kind::Word(name) | Kind::Text(name) => name.trim(),
            _ => {
                let problem = Problem::error("not-a-field", node.span.clone(), "a field is expected here");
                self.report(match literal::text(operand).filter(|text| Field::parse(text).is_some()) {
                    Some(field) => problem.hint(format!("the field comes first: `{field}`, then the value")),
                    None => problem.hint("the first argument is a field, such as name"),
                });
                return None;
            }
        };
        let found = Field::parse(name);
        if found.is_none() {
            self.unknown_field(name, node, operand);
        }
        found
    }

    fn unknown_field(&mut self, name: &str, node: &Node, operand: &Node) {
        let shown: String = name.escape_debug().take(64).collect();
        let problem = Problem::error("unknown-field", node.span.clone(), format!("there is no field `{shown}`"));
        let hint = if let Some(hint) = foreign_field(name) {
            Some(hint.to_owned())
        } else if let Some(field) =
            literal::text(operand).filter(|_| matches!(node.kind, Kind::Text(_))).and_then(Field::parse)
        {
            Some(format!("the field comes first: `{field}`, then the value"))
        } else if let Some((head, rest)) = name.split_once('.') {
            nearest(head, field::Root::ALL.iter().map(|(root, _)| *root))
                .filter(|root| *root != head)
                .map(|root| format!("did you mean `{root}.{rest}`?"))
                .or_else(|| Some("dotted paths start with metadata, extra, inputs or outputs".to_owned()))
        } else {
            nearest(name, field::names()).map(|near| format!("did you mean `{near}`?"))
        };
        self.report(match hint {
            Some(hint) => problem.hint(hint),
            None => problem.hint("a key of the metadata is written metadata.key"),
        });
    }

    /// Warns of two keys asked of one row.
    fn one_row(&mut self, parts: &[Condition], call: &Call) {
        for group in Group::ALL {
            let keys = parts.iter().zip(&call.args).filter(|(part, _)| {
                part.pair()
                    .is_some_and(|(of, column, test)| of == group && column == Column::Key && !test.is_negative())
            });
            let Some((_, second)) = keys.skip(1).last() else { continue };
            let message = "two keys are asked of one and the same entry, which has only one";
            self.report(
                Problem::warning("never-true", second.span.clone(), message)
                    .hint("give each entry its own scope: and(and(eq(key, ...), ...), and(eq(key, ...), ...))"),
            );
        }
    }
}

fn plural(arity: &RangeInclusive<usize>) -> String {
    match (*arity.start(), *arity.end()) {
        (1, 1) => "one argument".to_owned(),
        (1, usize::MAX) => "at least one argument".to_owned(),
        (2, 2) => "two arguments".to_owned(),
        (least, most) => format!("{least} to {most} arguments"),
    }
}

/// Names that other places use for a field.
fn foreign_field(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "run_id" => "the run's own id is `id`",
        "type" => "the run's type is `run_type`",
        "tag" => "the run's tags are `tags`: has(tags, \"x\")",
        "project" | "project_name" | "session_name" => {
            "a rule names its project outside the filter; its id is `session_id`"
        }
        "duration" => "the run's duration in seconds is `latency`",
        "cost" => "costs are total_cost, prompt_cost and completion_cost",
        "tokens" => "tokens are total_tokens, prompt_tokens and completion_tokens",
        "input" => "the whole document is `inputs`; its entries are input_key and input_value",
        "output" => "the whole document is `outputs`; its entries are output_key and output_value",
        "score" | "feedback" => {
            "feedback is feedback_key, feedback_score, feedback_value, feedback_source and feedback_comment"
        }
        "model" | "model_name" => "the model is `metadata.ls_model_name`",
        _ => return None,
    })
}
