"""`accelerate launch -m nerfound.pretraining …`."""

from .launch import main

if __name__ == "__main__":
    main()
