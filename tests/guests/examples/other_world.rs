//! A component that is no transform.
#![allow(missing_docs)]

wit_bindgen::generate!({
    inline: "
        package acme:greeter@1.0.0;

        world greeter {
            export greet: func(name: string) -> string;
        }
    ",
});

pub struct Greeter;

impl Guest for Greeter {
    fn greet(name: String) -> String {
        format!("Hello {name}")
    }
}

#[cfg(target_arch = "wasm32")]
export!(Greeter);
