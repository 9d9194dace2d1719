//! Networks of a few kilobytes: other families, activations and poolings against transformers, and what is refused.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

use embstore_encoder::{Builtin, Engine, LengthSource, Model, ModelError, NetworkError};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

#[derive(Deserialize)]
struct Case {
    model: String,
    pooling: String,
    text: String,
    ids: Vec<u32>,
    vector: Vec<f32>,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A copy of a tiny network in the layout of sentence-transformers, cut at 32 tokens, without normalisation.
fn folder(network: &str, pooling: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(golden().join("tiny").join(network).join(file), folder.path().join(file)).unwrap();
    }
    let modules = json!([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]);
    fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    write(&folder, "modules.json", &modules);
    write(&folder, "1_Pooling/config.json", &json!({"word_embedding_dimension": 24, pooling: true}));
    write(&folder, "sentence_bert_config.json", &json!({"max_seq_length": 32}));
    folder
}

fn write(folder: &TempDir, name: &str, value: &Value) {
    fs::write(folder.path().join(name), value.to_string()).unwrap();
}

fn edit(folder: &TempDir, name: &str, field: &str, value: Value) {
    let mut fields: Value = serde_json::from_slice(&fs::read(folder.path().join(name)).unwrap()).unwrap();
    fields[field] = value;
    write(folder, name, &fields);
}

fn open(folder: &TempDir) -> Result<Model, ModelError> {
    Model::open(folder.path(), None)
}

fn load(folder: &TempDir) -> Result<Builtin, ModelError> {
    Builtin::load(&open(folder)?, 1)
}

fn refused(folder: &TempDir) -> NetworkError {
    match load(folder) {
        Err(ModelError::Network(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn encode(model: &Model, text: &str) -> Vec<f32> {
    let engine = Builtin::load(model, 1).unwrap();
    let mut out = vec![f32::NAN; engine.dim()];
    engine.encode(&[&model.tokenizer().encode(text).unwrap()], &mut out).unwrap();
    out
}

#[test]
fn every_family_activation_and_pooling_is_that_of_transformers() {
    let cases: Vec<Case> = serde_json::from_slice(&fs::read(golden().join("tiny.json")).unwrap()).unwrap();
    assert_eq!(cases.len(), 3 * 3 * 5);
    for Case { model, pooling, text, ids, vector } in cases {
        let mode =
            if pooling == "cls" { "pooling_mode_cls_token".into() } else { format!("pooling_mode_{pooling}_tokens") };
        let folder = folder(&model, &mode);
        let opened = open(&folder).unwrap();
        assert_eq!(opened.pooling().name(), pooling);
        assert_eq!(opened.tokenizer().encode(&text).unwrap().ids, ids, "{model}: {text:?}");
        for (got, expected) in encode(&opened, &text).iter().zip(&vector) {
            assert!((got - expected).abs() < 5e-6, "{model}, {pooling}, {text:?}: {got} {expected}");
        }
    }
}

#[test]
fn normalised_vectors_have_length_one() {
    let folder = folder("bert", "pooling_mode_mean_tokens");
    fs::remove_file(folder.path().join("modules.json")).unwrap();
    let model = open(&folder).unwrap();
    assert!(model.normalises(), "where nothing is said");
    let length: f32 = encode(&model, "a cab").iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-6);
}

#[test]
fn half_precision_is_widened() {
    let folder = folder("bert", "pooling_mode_mean_tokens");
    let exact = encode(&open(&folder).unwrap(), "bad cab");
    for (name, narrow) in [
        ("F16", (|value| half::f16::from_f32(value).to_le_bytes()) as fn(f32) -> [u8; 2]),
        ("BF16", |value| half::bf16::from_f32(value).to_le_bytes()),
    ] {
        narrow_weights(&folder, name, narrow);
        let got = encode(&open(&folder).unwrap(), "bad cab");
        let difference = got.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference > 0.0 && difference < 0.1, "{name}: {difference}");
        fs::copy(golden().join("tiny/bert/model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    }
}

fn narrow_weights(folder: &TempDir, dtype: &str, narrow: fn(f32) -> [u8; 2]) {
    let path = folder.path().join("model.safetensors");
    let file = fs::read(&path).unwrap();
    let (length, rest) = file.split_first_chunk::<8>().unwrap();
    let (header, payload) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut header: Value = serde_json::from_slice(header).unwrap();
    header.as_object_mut().unwrap().remove("__metadata__");
    for tensor in header.as_object_mut().unwrap().values_mut() {
        tensor["dtype"] = dtype.into();
        let offsets = tensor["data_offsets"].as_array_mut().unwrap();
        offsets.iter_mut().for_each(|offset| *offset = (offset.as_u64().unwrap() / 2).into());
    }
    let header = header.to_string();
    let payload = payload.as_chunks().0.iter().flat_map(|&value| narrow(f32::from_le_bytes(value)));
    let file: Vec<u8> = (header.len() as u64).to_le_bytes().into_iter().chain(header.bytes()).chain(payload).collect();
    fs::write(path, file).unwrap();
}

#[test]
fn the_length_comes_from_whoever_states_it() {
    let folder = folder("bert", "pooling_mode_mean_tokens");
    let length = |folder: &TempDir| open(folder).unwrap().length();
    assert_eq!((length(&folder).tokens, length(&folder).source), (32, LengthSource::SentenceTransformers));
    edit(&folder, "sentence_bert_config.json", "max_seq_length", Value::Null);
    assert_eq!((length(&folder).tokens, length(&folder).source), (40, LengthSource::Positions));
    edit(&folder, "config.json", "max_position_embeddings", 4000.into());
    assert_eq!((length(&folder).tokens, length(&folder).source), (256, LengthSource::Usual));
}

#[test]
fn missing_files_are_named() {
    let missing = tempfile::tempdir().unwrap().path().to_path_buf();
    assert!(matches!(Model::open(&missing, None), Err(ModelError::NoFolder { .. })));
    let remove = |file: &str| {
        let folder = folder("bert", "pooling_mode_mean_tokens");
        fs::remove_file(folder.path().join(file)).unwrap();
        folder
    };
    assert!(matches!(open(&remove("tokenizer.json")), Err(ModelError::NoTokenizer { .. })));
    assert!(matches!(refused(&remove("config.json")), NetworkError::NoConfig { .. }));
    let folder = remove("model.safetensors");
    let error = open(&folder).unwrap_err();
    assert!(matches!(error, ModelError::NoWeights { .. }));
    assert!(error.hint().contains("scripts/fetch_model.sh") && error.hint().contains("--model DIR"));
    fs::write(folder.path().join("pytorch_model.bin"), "").unwrap();
    assert!(matches!(open(&folder), Err(ModelError::PickledWeights { .. })));
    fs::create_dir(folder.path().join("onnx")).unwrap();
    fs::write(folder.path().join("onnx/model.onnx"), "").unwrap();
    assert!(open(&folder).unwrap().graph().is_some());
    assert!(matches!(refused(&folder), NetworkError::NoWeights { .. }));
}

#[test]
fn a_graph_and_a_tokenizer_are_a_model() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(golden().join("tiny/bert/tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    fs::write(folder.path().join("model.onnx"), "a graph").unwrap();
    let model = open(&folder).unwrap();
    assert_eq!((model.dim(), model.max_tokens(), model.normalises()), (None, 256, true));
    fs::write(folder.path().join("model.onnx"), "another graph").unwrap();
    assert_ne!(open(&folder).unwrap().hash(), model.hash());
}

#[test]
fn parts_that_are_not_computed_are_refused_by_name() {
    let folder = folder("bert", "pooling_mode_weightedmean_tokens");
    assert!(matches!(open(&folder), Err(ModelError::PoolingMode { mode, .. }) if mode == "weightedmean_tokens"));
    let both = json!({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true});
    write(&folder, "1_Pooling/config.json", &both);
    assert!(matches!(open(&folder), Err(ModelError::SeveralPoolings { modes, .. }) if modes.len() == 2));
    write(&folder, "1_Pooling/config.json", &json!({"pooling_mode_mean_tokens": true}));

    let prompts = |name: Value| json!({"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": name});
    write(&folder, "config_sentence_transformers.json", &prompts("query".into()));
    assert!(matches!(open(&folder), Err(ModelError::Prompt { name, .. }) if name == "query"));
    for harmless in [Value::Null, "document".into()] {
        write(&folder, "config_sentence_transformers.json", &prompts(harmless));
        open(&folder).unwrap();
    }

    let module = |kind: &str| json!({"idx": 0, "name": "", "path": "", "type": kind});
    let transformer = module("sentence_transformers.models.Transformer");
    write(&folder, "modules.json", &json!([transformer, module("sentence_transformers.models.Dense")]));
    assert!(matches!(open(&folder), Err(ModelError::Module { name, .. }) if name.ends_with("Dense")));
    write(&folder, "modules.json", &json!([module("sentence_transformers.models.CLIPModel")]));
    assert!(matches!(open(&folder), Err(ModelError::NoTransformer { .. })));
    fs::write(folder.path().join("modules.json"), "[").unwrap();
    assert!(matches!(open(&folder), Err(ModelError::Json { .. })));
}

#[test]
fn networks_that_are_not_computed_are_refused_by_name() {
    for (field, value) in
        [("model_type", "distilbert"), ("hidden_act", "silu"), ("position_embedding_type", "relative_key")]
    {
        let folder = folder("bert", "pooling_mode_mean_tokens");
        edit(&folder, "config.json", field, value.into());
        let error = refused(&folder);
        assert!(matches!(&error, NetworkError::Unsupported { field: f, value: v, .. } if *f == field && v == value));
    }
    let folder = folder("bert", "pooling_mode_mean_tokens");
    edit(&folder, "config.json", "num_attention_heads", 5.into());
    assert!(matches!(refused(&folder), NetworkError::Heads { heads: 5, hidden: 24, .. }));
    edit(&folder, "config.json", "num_attention_heads", 0.into());
    assert!(matches!(refused(&folder), NetworkError::Field { field: "num_attention_heads", .. }));
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let folder = folder("bert", "pooling_mode_mean_tokens");
    edit(&folder, "config.json", "num_hidden_layers", 3.into());
    let error = refused(&folder);
    assert!(
        matches!(&error, NetworkError::NoTensor { name, .. } if name == "encoder.layer.2.attention.self.query.weight")
    );
    edit(&folder, "config.json", "num_hidden_layers", 2.into());
    edit(&folder, "config.json", "intermediate_size", 48.into());
    let error = refused(&folder);
    assert!(
        matches!(&error, NetworkError::TensorShape { expected, got, .. } if expected[..] == [48, 24] && got[..] == [40, 24])
    );

    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    for cut in [0, 5, 8, 100, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(matches!(refused(&folder), NetworkError::Damaged { .. }), "{cut} bytes");
    }
    let text = String::from_utf8_lossy(&whole).replacen("\"F32\"", "\"I32\"", 100);
    let length = 8 + u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
    let mut integers = text.as_bytes()[..length].to_vec();
    integers.extend_from_slice(&whole[length..]);
    fs::write(&path, &integers).unwrap();
    assert!(matches!(refused(&folder), NetworkError::TensorType { dtype, .. } if dtype == "I32"));
}
