"""`accelerate launch -m nerfound.pretraining …`."""

from .run import main

main()
