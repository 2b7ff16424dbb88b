//! Functions that look into JSON.

use std::sync::Arc;

use breccia_service::reduce::{Found, find};
use breccia_types::reduce::FieldPath;
use datafusion::arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringBuilder,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// All of them.
pub(crate) fn functions() -> impl Iterator<Item = Arc<ScalarUDF>> {
    [Kind::Text, Kind::Integer, Kind::Float, Kind::Boolean].into_iter().map(|kind| {
        let signature =
            Signature::exact(vec![DataType::Utf8, DataType::Utf8], Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(JsonGet { kind, signature }))
    })
}

/// `json_text(value, path)` and its like: the scalar at a path of a JSON document, null if
/// there is none or it is of another type. The path is names with dots between them, or a JSON
/// pointer.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonGet {
    kind: Kind,
    signature: Signature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Text,
    Integer,
    Float,
    Boolean,
}

impl ScalarUDFImpl for JsonGet {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Text => "json_text",
            Kind::Integer => "json_int",
            Kind::Float => "json_float",
            Kind::Boolean => "json_bool",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Text => DataType::Utf8,
            Kind::Integer => DataType::Int64,
            Kind::Float => DataType::Float64,
            Kind::Boolean => DataType::Boolean,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, path] = args.args.as_slice() else {
            return plan_err!("{} takes a document and a path", self.name());
        };
        let ColumnarValue::Scalar(ScalarValue::Utf8(Some(path))) = path else {
            return exec_err!("the path of {} must be a constant", self.name());
        };
        let path: FieldPath = match path.parse() {
            Ok(path) => path,
            Err(error) => return exec_err!("{error}"),
        };
        let documents = value.to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(self.kind.get(&documents, &path)))
    }
}

impl Kind {
    fn get(self, documents: &ArrayRef, path: &FieldPath) -> ArrayRef {
        let mut text = Vec::new();
        let found = documents.as_string::<i32>().iter().map(|document| {
            let found = find(document?.as_bytes(), path.steps(), &mut text).ok()?;
            Some((found, String::from_utf8_lossy(&text).into_owned()))
        });
        let is =
            |wanted: Found| move |(found, text): (Found, String)| (found == wanted).then_some(text);
        match self {
            Self::Text => {
                let mut builder = StringBuilder::new();
                let is_scalar =
                    |found| matches!(found, Found::Text | Found::Number | Found::Boolean);
                found.for_each(|found| {
                    let text = found.filter(|(found, _)| is_scalar(*found)).map(|(_, text)| text);
                    builder.append_option(text);
                });
                Arc::new(builder.finish())
            }
            Self::Integer => Arc::new(Int64Array::from_iter(
                found.map(|found| found.and_then(is(Found::Number))?.parse::<i64>().ok()),
            )),
            Self::Float => Arc::new(Float64Array::from_iter(
                found.map(|found| found.and_then(is(Found::Number))?.parse::<f64>().ok()),
            )),
            Self::Boolean => Arc::new(BooleanArray::from_iter(
                found.map(|found| Some(found.and_then(is(Found::Boolean))? == "true")),
            )),
        }
    }
}
