"""The clients that are compared: kato-consul, its engine alone, and the alternatives."""
