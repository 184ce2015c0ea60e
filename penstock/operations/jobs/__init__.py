"""Jobs: finding them, their lives, and retrying and cancelling them."""
