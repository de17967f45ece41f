//! What a backup that does not know links leaves behind.

use std::fs;

use super::bench::{NEW, NEXT, OLD, Place, SHELLS, deliver, reply};

#[test]
fn p09_links_that_a_backup_flattened_are_taken_over_again() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        deliver(shell, &place, NEW);
        fs::remove_file(&place.key).unwrap();
        fs::write(&place.key, NEW.key()).unwrap();
        assert_eq!(deliver(shell, &place, NEXT), reply("committed"));
        assert!(place.holds(NEXT) && place.key.is_symlink());
        // And with a key that does not belong to the chain: a node in need of repair.
        fs::remove_file(&place.key).unwrap();
        fs::write(&place.key, OLD.key()).unwrap();
        assert_eq!(deliver(shell, &place, NEXT), reply("committed"));
        assert!(place.holds(NEXT) && place.key.is_symlink());
    }
}

#[test]
fn p09_a_link_that_a_backup_turned_into_a_folder_is_refused_with_the_way_out() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        deliver(shell, &place, NEW);
        for (link, folder) in [("current", NEW.1), ("previous", "0-found")] {
            fs::remove_file(place.own().join(link)).unwrap();
            fs::rename(place.own().join(folder), place.own().join(link)).unwrap();
        }
        let (verb, body) = deliver(shell, &place, NEXT);
        assert_eq!(verb, "refused");
        let way_out = body.rsplit_once("-> ").unwrap().1;
        let run = std::process::Command::new("sh").args(["-c", way_out]).current_dir(place.own()).status();
        assert!(run.unwrap().success());
        assert_eq!(deliver(shell, &place, NEXT), reply("committed"));
        assert!(place.holds(NEXT));
    }
}
