//! What is remembered of where certificates were put.

use std::sync::Arc;

use super::scene::{SERVICE, Scene, cert, days, name};
use crate::model::PersistedState;
use crate::plan::{installs, places};

#[test]
fn a_folder_that_is_configured_no_more_is_remembered_until_it_is_gone() {
    let mut scene = Scene::new().stored(days(10), days(90));
    let (node, service) = (name("shenzhen"), cert(SERVICE));
    let mut state = PersistedState::default();
    installs::delivered(&mut state, &scene.config, &node, &service);
    assert!(places::left(&state, &scene.config, &node).is_empty());
    let before = scene.config.install(&node, &service).unwrap().clone();
    let folder = places::folder(&before, &service);

    let install = crate::config::Install { fullchain: "/new/chain.pem".into(), ..(*before).clone() };
    scene.config.installs.insert((node.clone(), service.clone()), Arc::new(install));
    let left = places::left(&state, &scene.config, &node);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].folder, folder);
    assert!(left[0].paths.contains(&before.fullchain) && left[0].paths.contains(&before.key));
    installs::delivered(&mut state, &scene.config, &node, &service);
    installs::prune(&mut state, &scene.config);
    assert_eq!(places::left(&state, &scene.config, &node), left);
    places::forget(&mut state, &node, &folder);
    assert!(places::left(&state, &scene.config, &node).is_empty());
    let kept = serde_json::to_string(&state).unwrap();
    assert!(kept.contains("/new/.certd/"), "{kept}");
}
