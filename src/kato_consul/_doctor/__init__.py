"""What is wrong with a deployment: facts are gathered by a flow, and judged by a pure function."""
