//! ONNX Runtime: the real library, the real model, and graphs that are none of a text encoder.
#![cfg(feature = "onnx")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::{fetched, root};
use embstore_encoder::{
    Choice, ChooseError, Device, Engine, EngineError, Library, LibraryError, Model, Onnx, OnnxError, Provider, Request,
    Tokens, Unfit, choose, python_library,
};

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(root().join("encoder/tests/golden").join(name)).unwrap()
}

/// Of all lengths, so that a batch has padding.
fn texts() -> Vec<String> {
    serde_json::from_slice(&golden("texts.json")).unwrap()
}

/// Their vectors by sentence-transformers: the payload of the .npy, which is float32 in C order and the end of the file.
fn vectors() -> Vec<f32> {
    let file = golden("minilm.npy");
    let payload = &file[file.len() - texts().len() * 384 * 4..];
    payload.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect()
}

fn library() -> Option<Library> {
    let python = fetched(".venv/bin/python", "scripts/venv.sh makes it")?;
    let path = match python_library(&python) {
        Ok(path) => path,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            eprintln!("⚠ NOT RUN: {error}: {}", error.hint());
            return None;
        }
    };
    Some(Library::check(&path).unwrap())
}

/// The whole model: weights and graph.
fn exported() -> Option<PathBuf> {
    fetched("models/onnx/minilm", "scripts/export_onnx.py makes it")
}

fn weights() -> Option<PathBuf> {
    fetched("models/minilm", "scripts/fetch_model.sh fetches it")
}

fn open(folder: &Path) -> Model {
    Model::open(folder, None).unwrap()
}

/// A model folder of the tokenizer and one of the small graphs.
fn folder_with(graph: &Path) -> Option<tempfile::TempDir> {
    let from = weights()?;
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(from.join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    std::fs::copy(graph, folder.path().join("model.onnx")).unwrap();
    Some(folder)
}

fn small(name: &str) -> PathBuf {
    root().join("encoder/tests/graphs").join(format!("{name}.onnx"))
}

fn tokens_of(model: &Model) -> Vec<Tokens> {
    texts().iter().map(|text| model.tokenizer().encode(text).unwrap()).collect()
}

fn encode(engine: &dyn Engine, tokens: &[Tokens]) -> Vec<f32> {
    let batch: Vec<&Tokens> = tokens.iter().collect();
    let mut out = vec![f32::NAN; batch.len() * engine.dim()];
    engine.encode(&batch, &mut out).unwrap();
    out
}

fn least_cosine(a: &[f32], b: &[f32], dim: usize) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    assert_eq!(a.len(), b.len());
    let rows = a.chunks_exact(dim).zip(b.chunks_exact(dim));
    rows.map(|(a, b)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).fold(f64::INFINITY, f64::min)
}

#[test]
fn vectors_are_those_of_sentence_transformers_in_batches_of_any_size() {
    let (Some(library), Some(graph)) = (library(), exported()) else { return };
    let model = open(&graph);
    let onnx = Onnx::load(&model, &library, Provider::Cpu, 2).unwrap();
    assert_eq!((onnx.identity().name, onnx.identity().device, onnx.dim()), ("onnx", "cpu", 384));
    assert_eq!(onnx.identity().version, library.version());
    let tokens = tokens_of(&model);
    for size in [1, 7, tokens.len()] {
        let got: Vec<f32> = tokens.chunks(size).flat_map(|batch| encode(&onnx, batch)).collect();
        assert!(least_cosine(&got, &vectors(), 384) >= 0.99999, "{size} texts in a batch");
        let difference = got.iter().zip(vectors()).map(|(got, expected)| (got - expected).abs()).fold(0.0, f32::max);
        assert!(difference <= 1e-6, "{size} texts in a batch: {difference}");
    }
}

#[test]
fn batches_that_cannot_be_encoded_are_refused() {
    let (Some(library), Some(graph)) = (library(), exported()) else { return };
    let onnx = Onnx::load(&open(&graph), &library, Provider::Cpu, 1).unwrap();
    let of = |ids: Vec<u32>| Tokens { ids, truncated: false };
    let mut out = vec![0.0; 384];
    assert!(onnx.encode(&[], &mut []).is_ok());
    assert!(matches!(onnx.encode(&[&of(vec![101])], &mut []), Err(EngineError::Output { expected: 384, got: 0 })));
    let empty = onnx.encode(&[&of(vec![])], &mut out);
    assert!(matches!(empty, Err(EngineError::Tokens { text: 0, tokens: 0, most: 512 })));
    let long = onnx.encode(&[&of(vec![101; 513])], &mut out);
    assert!(matches!(long, Err(EngineError::Tokens { tokens: 513, .. })));
    let unknown = onnx.encode(&[&of(vec![30522])], &mut out);
    assert!(matches!(unknown, Err(EngineError::Vocabulary { id: 30522, .. })));
    // It is as good as before.
    onnx.encode(&[&of(vec![101, 102])], &mut out).unwrap();
}

#[test]
fn several_threads_may_call_it() {
    let (Some(library), Some(graph)) = (library(), exported()) else { return };
    let model = open(&graph);
    let onnx = Onnx::load(&model, &library, Provider::Cpu, 1).unwrap();
    let tokens = &tokens_of(&model)[..20];
    let expected = encode(&onnx, tokens);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert_eq!(encode(&onnx, tokens), expected));
        }
    });
}

#[test]
fn unusual_graphs_are_taken_as_they_are() {
    let Some(library) = library() else { return };
    let of = |ids: &[u32]| Tokens { ids: ids.into(), truncated: false };
    let (long, short) = (of(&[1, 2, 6]), of(&[5]));
    // int32, no token types: the mean over each text's own tokens, then normalised.
    let Some(folder) = folder_with(&small("int32")) else { return };
    let onnx = Onnx::load(&open(folder.path()), &library, Provider::Cpu, 1).unwrap();
    assert_eq!(onnx.dim(), 4);
    let mut out = [0.0; 8];
    onnx.encode(&[&long, &short], &mut out).unwrap();
    let unit = [1.0_f32, 2.0, 3.0, 4.0].map(|value| value / 30.0_f32.sqrt());
    assert!(out.iter().zip(unit.iter().chain(&unit)).all(|(got, want)| (got - want).abs() < 1e-6), "{out:?}");
    // One vector per text: neither pooled nor normalised.
    let Some(folder) = folder_with(&small("sentence")) else { return };
    let onnx = Onnx::load(&open(folder.path()), &library, Provider::Cpu, 1).unwrap();
    onnx.encode(&[&long, &short], &mut out).unwrap();
    assert_eq!(out, [6.0, 12.0, 18.0, 24.0, 5.0, 10.0, 15.0, 20.0]);
}

#[test]
fn other_graphs_are_refused_with_what_they_are() {
    let Some(library) = library() else { return };
    let load = |graph: &Path| {
        let folder = folder_with(graph)?;
        let error = Onnx::load(&open(folder.path()), &library, Provider::Cpu, 1).unwrap_err();
        assert!(error.to_string().contains("model.onnx") && !error.hint().is_empty(), "{error}");
        Some(error)
    };
    let Some(error) = load(&small("no_mask")) else { return };
    assert!(matches!(&error, OnnxError::Inputs { got, .. } if got.starts_with("input_ids ")), "{error}");
    let error = load(&small("image")).unwrap();
    assert!(matches!(&error, OnnxError::Inputs { got, .. } if got.starts_with("pixel_values ")), "{error}");
    for name in ["fixed", "floats"] {
        let error = load(&small(name)).unwrap();
        assert!(matches!(&error, OnnxError::Input { name, .. } if name == "input_ids"), "{error}");
    }
    let error = load(&small("scores")).unwrap();
    assert!(matches!(&error, OnnxError::Outputs { got, .. } if got.starts_with("logits ")), "{error}");
    let damaged = tempfile::NamedTempFile::new().unwrap();
    let whole = std::fs::read(small("int32")).unwrap();
    for content in [&whole[..whole.len() / 2], b"no graph at all"] {
        std::fs::write(damaged.path(), content).unwrap();
        assert!(matches!(load(damaged.path()).unwrap(), OnnxError::Graph { .. }));
    }
}

#[test]
fn a_graph_of_another_width_than_config_json_says() {
    let (Some(library), Some(weights)) = (library(), weights()) else { return };
    let Some(folder) = folder_with(&small("int32")) else { return };
    std::fs::copy(weights.join("config.json"), folder.path().join("config.json")).unwrap();
    let error = Onnx::load(&open(folder.path()), &library, Provider::Cpu, 1).unwrap_err();
    assert!(matches!(error, OnnxError::Dim { expected: 384, got: 4, .. }), "{error}");
}

#[test]
fn a_truncated_library_is_refused() {
    let Some(library) = library() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libonnxruntime.so");
    let bytes = std::fs::read(library.path()).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = Library::check(&path).unwrap_err();
    assert!(matches!(error, LibraryError::Truncated { .. } | LibraryError::Load { .. }), "{error}");
}

#[test]
fn devices_that_are_not_there_say_what_to_install() {
    let (Some(library), Some(graph)) = (library(), exported()) else { return };
    let model = open(&graph);
    let devices = [(Provider::Cuda, "onnxruntime-gpu"), (Provider::Mps, "a Mac"), (Provider::CoreMl, "a Mac")];
    for (provider, package) in devices {
        // The library of the tests is the build for processors.
        let Err(error) = Onnx::load(&model, &library, provider, 1) else { panic!("{provider:?} is there") };
        assert!(matches!(error, OnnxError::NotCompiledIn { .. } | OnnxError::Device { .. }), "{error}");
        assert!(error.hint().contains(package) && error.hint().contains("--device cpu"), "{}", error.hint());
    }
}

/// Weights and graph in one folder, as links.
fn complete(graph: &Path) -> Option<tempfile::TempDir> {
    let (folder, from) = (graph_alone(graph)?, weights()?);
    symlink(from.canonicalize().unwrap().join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    Some(folder)
}

/// A graph with all that belongs to it but the weights, as links.
fn graph_alone(graph: &Path) -> Option<tempfile::TempDir> {
    let from = weights()?.canonicalize().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json", "modules.json", "sentence_bert_config.json", "1_Pooling"] {
        symlink(from.join(name), folder.path().join(name)).unwrap();
    }
    symlink(graph.canonicalize().unwrap(), folder.path().join("model.onnx")).unwrap();
    Some(folder)
}

fn request(library: &Library, device: Device, engine: Choice) -> Request {
    Request { device, engine, threads: 1, libraries: vec![library.path().into()] }
}

#[test]
fn on_the_processor_auto_takes_the_built_in_engine_and_asks_no_library() {
    let Some(folder) = complete(&small("nan")) else { return };
    let libraries = vec!["/nowhere/libonnxruntime.so".into()];
    let request = Request { device: Device::Cpu, threads: 1, libraries, ..Request::default() };
    let chosen = choose(&open(folder.path()), &request).unwrap();
    assert_eq!(chosen.engine.identity().name, "builtin");
    assert_eq!(chosen.notes.len(), 1, "{:?}", chosen.notes);
    assert!(chosen.notes[0].ends_with("the first choice on the processor"), "{:?}", chosen.notes);
}

#[test]
fn auto_says_why_it_is_not_on_a_gpu() {
    let (Some(library), Some(graph)) = (library(), exported()) else { return };
    let Some(folder) = complete(&graph.join("model.onnx")) else { return };
    let chosen = choose(&open(folder.path()), &request(&library, Device::Auto, Choice::Auto)).unwrap();
    assert_eq!((chosen.engine.identity().name, chosen.engine.identity().device), ("builtin", "cpu"));
    assert!(chosen.notes[1].starts_with("not on "), "{:?}", chosen.notes);
}

#[test]
fn onnx_runtime_says_how_well_it_agrees() {
    let (Some(library), Some(graph)) = (library(), exported()) else { return };
    let Some(folder) = complete(&graph.join("model.onnx")) else { return };
    let chosen = choose(&open(folder.path()), &request(&library, Device::Cpu, Choice::Onnx)).unwrap();
    assert_eq!((chosen.engine.identity().name, chosen.engine.identity().device), ("onnx", "cpu"));
    let (_, cosine) = chosen.notes[0].split_once("agrees with the built-in engine (cosine ").unwrap();
    assert!(cosine.trim_end_matches(')').parse::<f64>().unwrap() > 0.99999, "{:?}", chosen.notes);
}

#[test]
fn a_model_of_another_family_is_for_onnx_runtime() {
    let (Some(library), Some(graph)) = (library(), exported()) else { return };
    let Some(folder) = complete(&graph.join("model.onnx")) else { return };
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap().replace(r#""model_type": "bert""#, r#""model_type": "mpnet""#);
    std::fs::remove_file(&config).unwrap();
    std::fs::write(&config, text).unwrap();
    let ask = |library: &Path| {
        let libraries = vec![library.into()];
        choose(&open(folder.path()), &Request { device: Device::Cpu, threads: 1, libraries, ..Request::default() })
    };
    let chosen = ask(library.path()).unwrap();
    assert_eq!(chosen.engine.identity().name, "onnx");
    assert!(chosen.notes[0].contains("mpnet"), "{:?}", chosen.notes);
    let error = ask(Path::new("/nowhere/libonnxruntime.so")).unwrap_err();
    assert!(matches!(&error, ChooseError::NoEngine { reasons, .. } if reasons.len() == 2), "{error}");
    assert!(error.to_string().contains("mpnet") && error.hint().starts_with("pip install onnxruntime"), "{error}");
    // Without a graph, it is the graph that is missing.
    std::fs::remove_file(folder.path().join("model.onnx")).unwrap();
    let error = ask(library.path()).unwrap_err();
    assert!(matches!(&error, ChooseError::Model(_)) && error.hint().contains("model.onnx"), "{error}");
}

#[test]
fn damaged_weights_are_an_error_whatever_lies_beside_them() {
    let (Some(library), Some(graph)) = (library(), exported()) else { return };
    let Some(folder) = complete(&graph.join("model.onnx")) else { return };
    let weights = folder.path().join("model.safetensors");
    std::fs::remove_file(&weights).unwrap();
    std::fs::write(&weights, b"weights").unwrap();
    let error = choose(&open(folder.path()), &request(&library, Device::Cpu, Choice::Auto)).unwrap_err();
    assert!(matches!(&error, ChooseError::Model(_)) && error.to_string().contains("model.safetensors"), "{error}");
}

#[test]
fn without_weights_there_is_nothing_to_compare_with() {
    let (Some(library), Some(graph)) = (library(), exported()) else { return };
    let Some(folder) = graph_alone(&graph.join("model.onnx")) else { return };
    let chosen = choose(&open(folder.path()), &request(&library, Device::Cpu, Choice::Auto)).unwrap();
    assert_eq!(chosen.engine.identity().name, "onnx");
    assert!(chosen.notes[0].contains("compared with nothing: "), "{:?}", chosen.notes);
}

#[test]
fn a_graph_that_gives_no_numbers_fails_the_trial() {
    let (Some(library), Some(folder)) = (library(), folder_with(&small("nan"))) else { return };
    let error = choose(&open(folder.path()), &request(&library, Device::Cpu, Choice::Onnx)).unwrap_err();
    assert!(matches!(&error, ChooseError::Trial { engine: "onnx", source: Unfit::NotFinite { .. }, .. }), "{error}");
    assert!(!error.hint().is_empty());
}

#[test]
fn what_is_asked_for_by_name_is_taken_or_is_an_error() {
    let (Some(library), Some(graph), Some(weights)) = (library(), exported(), weights()) else { return };
    let Some(folder) = graph_alone(&graph.join("model.onnx")) else { return };
    let (graph, weights) = (open(folder.path()), open(&weights));
    let ask = |model, device, engine| choose(model, &request(&library, device, engine));
    let builtin = ask(&weights, Device::Auto, Choice::Builtin).unwrap();
    assert_eq!(builtin.engine.identity().name, "builtin");
    assert!(matches!(ask(&weights, Device::Cpu, Choice::Onnx), Err(ChooseError::Onnx(OnnxError::NoGraph { .. }))));
    assert!(matches!(ask(&graph, Device::Auto, Choice::Builtin), Err(ChooseError::Model(_))));
    let error = ask(&weights, Device::Cuda, Choice::Builtin).unwrap_err();
    assert!(matches!(error, ChooseError::BuiltinDevice { device: Device::Cuda }));
    for device in [Device::Cuda, Device::Mps, Device::CoreMl] {
        let Err(error) = ask(&graph, device, Choice::Auto) else { panic!("{device:?} is there") };
        let is_device = matches!(error, ChooseError::Onnx(OnnxError::NotCompiledIn { .. } | OnnxError::Device { .. }));
        assert!(is_device && error.to_string().contains(device.name()), "{error}");
    }
}

#[test]
fn without_a_library_the_built_in_engine_serves_or_the_library_is_asked_for() {
    let (Some(graph), Some(weights)) = (exported(), weights()) else { return };
    let request = Request { threads: 1, libraries: vec!["/nowhere/libonnxruntime.so".into()], ..Request::default() };
    let Some(folder) = complete(&graph.join("model.onnx")) else { return };
    let chosen = choose(&open(folder.path()), &request).unwrap();
    assert_eq!(chosen.engine.identity().name, "builtin");
    assert!(chosen.notes.iter().any(|note| note.contains("/nowhere/")), "{:?}", chosen.notes);
    assert_eq!(choose(&open(&weights), &request).unwrap().engine.identity().name, "builtin");
    let Some(folder) = graph_alone(&graph.join("model.onnx")) else { return };
    let error = choose(&open(folder.path()), &request).unwrap_err();
    assert!(matches!(&error, ChooseError::NoEngine { .. }), "{error}");
    assert!(error.hint().starts_with("pip install onnxruntime"), "{}", error.hint());
}
