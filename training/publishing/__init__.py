"""What `training.publish` sends to the Hub: files, their README, and how they get there."""
