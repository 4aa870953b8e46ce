//! Comparisons: which operators a field has, and what their operands become.

use crate::filter::check::function::Operator;
use crate::filter::check::{Checker, literal};
use crate::filter::checked::{Condition, Order, Test};
use crate::filter::eval::text::{Needle, Pattern};
use crate::filter::field::{Column, Field, Group, Plain, Root, Type};
use crate::filter::tree::{Call, Kind, Node};
use crate::filter::value::Value;
use crate::model::problem::Problem;

impl Checker<'_> {
    pub(super) fn compare(
        &mut self,
        operator: Operator,
        call: &Call,
        name: &Node,
        operand: &Node,
    ) -> Option<Condition> {
        let field = lowered(self.field(name, operand)?, operand);
        self.notes(operator, &field, call, name, operand);
        if !allowed(operator, &field) {
            self.wrong_operator(operator, &field, call);
            return None;
        }
        match operator {
            Operator::Eq => self.equality(field, operand, true),
            Operator::Neq => self.equality(field, operand, false),
            Operator::Order(order) => self.order(field, order, operand),
            Operator::In => self.members(field, operand),
            Operator::Like => {
                self.text(operand).map(|text| Condition::Field(field, Test::Like(Box::new(Pattern::parse(text)))))
            }
            Operator::NotLike => {
                self.text(operand).map(|text| Condition::Field(field, Test::NotLike(Box::new(Pattern::parse(text)))))
            }
            Operator::Search => {
                self.text(operand).map(|text| Condition::Field(field, Test::Search(Box::new(Needle::new(text)))))
            }
            Operator::Has => self.has(field, operand),
            Operator::Exists => match field {
                Field::Whole(root) => Some(Condition::HasKey(root, self.text(operand)?.into())),
                _ => None,
            },
        }
    }

    fn equality(&mut self, field: Field, operand: &Node, equal: bool) -> Option<Condition> {
        // `eq(error, true)` asks whether there is an error.
        if let (Field::Plain(Plain::Error), Kind::Bool(yes)) = (&field, &operand.kind) {
            let test = if *yes == equal { Test::Neq(Value::Null) } else { Test::Eq(Value::Null) };
            return Some(Condition::Field(field, test));
        }
        let value = literal::value(&field, operand, self.problems)?;
        Some(Condition::Field(field, if equal { Test::Eq(value) } else { Test::Neq(value) }))
    }

    fn order(&mut self, field: Field, order: Order, operand: &Node) -> Option<Condition> {
        let value = literal::value(&field, operand, self.problems)?;
        if matches!(value, Value::Null | Value::Bool(_)) {
            let message = "nothing is more or less than this";
            self.report(Problem::error("wrong-type", operand.span.clone(), message).hint("use eq or neq"));
            return None;
        }
        Some(Condition::Field(field, Test::Order(order, value)))
    }

    fn members(&mut self, field: Field, operand: &Node) -> Option<Condition> {
        let Kind::List(items) = &operand.kind else {
            if operand.kind != Kind::Bad {
                let problem = Problem::error("wrong-type", operand.span.clone(), "`in` takes a list");
                self.report(problem.hint("write it in brackets: [\"first\", \"second\"]"));
            }
            return None;
        };
        if items.is_empty() {
            let problem = Problem::warning("never-true", operand.span.clone(), "nothing is in an empty list");
            self.report(problem);
        }
        let values: Vec<Option<Value>> = items.iter().map(|item| literal::value(&field, item, self.problems)).collect();
        let values = values.into_iter().collect::<Option<Vec<Value>>>()?;
        Some(Condition::Field(field, Test::In(values.into())))
    }

    fn has(&mut self, field: Field, operand: &Node) -> Option<Condition> {
        let (root, path) = match &field {
            Field::Whole(root) => (*root, None),
            Field::Path(root, path) => (*root, Some(path.clone())),
            _ => return self.equality(field, operand, true),
        };
        match literal::text(operand).and_then(literal::contained) {
            Some(Ok(contained)) => return Some(Condition::Contains(root, path, Box::new(contained))),
            Some(Err(error)) => {
                let problem =
                    Problem::error("bad-json", operand.span.clone(), format!("this is no JSON object: {error}"));
                self.report(problem.hint("write an object such as '{\"key\": \"value\"}'"));
                return None;
            }
            None => {}
        }
        match field {
            Field::Whole(root) => Some(Condition::HasKey(root, self.text(operand)?.into())),
            field => self.equality(field, operand, true),
        }
    }

    fn text<'n>(&mut self, operand: &'n Node) -> Option<&'n str> {
        let text = literal::text(operand);
        if text.is_none() && operand.kind != Kind::Bad {
            let problem = Problem::error("wrong-type", operand.span.clone(), "text is expected here");
            self.report(problem.hint("write it in quotes"));
        }
        text
    }

    fn wrong_operator(&mut self, operator: Operator, field: &Field, call: &Call) {
        let message = format!("`{}` does not apply to `{field}`, which is {}", operator.name(), field.kind().article());
        let problem = Problem::error("wrong-operator", call.name_span.clone(), message);
        let hint = match (operator, field.kind()) {
            (Operator::Exists, Type::Any) => "write neq(field, null) to ask whether it is there",
            (Operator::Exists, _) => {
                "exists(metadata, \"key\") asks a document for a key; neq(field, null) asks for a value"
            }
            (Operator::Has, Type::Text | Type::Id) => "`has` is for tags and documents; use eq, or like with `%`",
            (Operator::Has, _) => "`has` is for tags and documents; use eq",
            (Operator::Like | Operator::NotLike, Type::Document) => "use search(field, \"text\")",
            (Operator::Like | Operator::NotLike | Operator::Search, _) => "use eq, neq or in",
            (Operator::Order(_), Type::Text | Type::Key | Type::Id | Type::Tags) => {
                "order is for times, durations and numbers; use eq, in or like"
            }
            (Operator::In, Type::Flag) => "use eq",
            (_, Type::Document) => "ask about a part of it, as in eq(metadata.key, \"value\")",
            _ => "use eq or neq",
        };
        self.report(problem.hint(hint));
    }

    /// What is accepted here, but is worth a word.
    fn notes(&mut self, operator: Operator, field: &Field, call: &Call, name: &Node, operand: &Node) {
        if field.kind() == Type::Thread {
            let message = format!("`{field}` counts the runs of a thread; a run by itself counts one");
            self.report(Problem::warning("thread-field", name.span.clone(), message));
        }
        if call.name.eq_ignore_ascii_case("nlike") {
            let instead = Some("write `notlike`".to_owned());
            self.hosted(&call.name_span, "the hosted service may refuse `nlike`", instead);
        }
        if let Kind::Word(word) = &operand.kind {
            let shown: String = word.chars().take(40).collect();
            self.hosted(
                &operand.span,
                "the hosted service may refuse text without quotes",
                Some(format!("write \"{shown}\"")),
            );
        }
        if matches!(operand.kind, Kind::Number(_, Some(_))) {
            let instead = Some("write it in quotes, as in \"5s\"".to_owned());
            self.hosted(&operand.span, "the hosted service may refuse a unit without quotes", instead);
        }
        if let Some((what, instead)) = refused(operator, field, operand) {
            let what = format!("the hosted service refuses {what}");
            self.hosted(&(call.name_span.start..operand.span.end), what, instead.map(str::to_owned));
        }
    }
}

/// A number compared with the first token's time is the time it took.
fn lowered(field: Field, operand: &Node) -> Field {
    let seconds = match &operand.kind {
        Kind::Number(..) => true,
        Kind::Text(text) => crate::filter::value::seconds(text).is_some(),
        _ => false,
    };
    if field == Field::Plain(Plain::FirstTokenTime) && seconds {
        return Field::Plain(Plain::FirstTokenLatency);
    }
    field
}

fn allowed(operator: Operator, field: &Field) -> bool {
    let kind = field.kind();
    match operator {
        Operator::Eq | Operator::Neq => true,
        Operator::Order(_) => {
            matches!(kind, Type::Time | Type::Seconds | Type::Number | Type::Score | Type::Any | Type::Thread)
        }
        Operator::In => !matches!(kind, Type::Flag | Type::Document),
        Operator::Like | Operator::NotLike => matches!(kind, Type::Text | Type::Key | Type::Tags | Type::Any),
        Operator::Search => matches!(kind, Type::Text | Type::Key | Type::Tags | Type::Any | Type::Document),
        Operator::Has => matches!(kind, Type::Key | Type::Tags | Type::Any | Type::Document),
        Operator::Exists => matches!(field, Field::Whole(_)),
    }
}

/// What the hosted service was seen to refuse, or is said by its makers to refuse, and what to write instead.
fn refused(operator: Operator, field: &Field, operand: &Node) -> Option<(&'static str, Option<&'static str>)> {
    Some(match (operator, field) {
        (Operator::Neq, Field::Plain(Plain::Tags)) => ("`neq` on `tags`", None),
        (Operator::Has, Field::Pair(Group::Feedback, Column::Key)) => {
            ("`has` on `feedback_key`", Some("write eq(feedback_key, \"key\")"))
        }
        (Operator::Has, Field::Whole(Root::Metadata))
            if literal::text(operand).is_some_and(|text| !text.trim_start().starts_with('{')) =>
        {
            ("`has(metadata, key)` with a bare key", Some("write eq(metadata_key, \"key\")"))
        }
        (_, Field::Plain(Plain::Error)) => {
            ("tests of `error`", Some("test the status: eq(status, \"error\") or neq(status, \"error\")"))
        }
        (_, Field::Plain(plain)) if plain.is_tokens() || *plain == Plain::ExecutionOrder => {
            ("this field, though its documentation shows it", None)
        }
        (_, Field::Plain(Plain::RunCount | Plain::TraceCount)) => ("this field on runs", None),
        _ => return None,
    })
}
