=== CoreEtlJob/logistics/clean-orders
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "logistics",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "logistics",
      "dcp/execution": "a1",
      "dcp/workload": "clean-orders"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "pyFiles": "local:///opt/dcp/job/main.py",
    "driverArgs": [
      "/opt/dcp/job/job.json"
    ],
    "sparkConf": {
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "1g",
      "spark.executor.cores": "1",
      "spark.executor.instances": "1",
      "spark.executor.memory": "1g",
      "spark.kubernetes.container.image": "spark-platform:4.1-latest"
    },
    "deploymentMode": "ClusterMode",
    "applicationTolerations": {
      "restartConfig": {
        "restartPolicy": "Never"
      },
      "applicationTimeoutConfig": {
        "driverStartTimeoutMillis": 900000,
        "forceTerminationGracePeriodMillis": 60000
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "clean-orders"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark",
              "volumeMounts": [
                {
                  "mountPath": "/opt/dcp/job",
                  "name": "dcp-job",
                  "readOnly": true
                }
              ]
            }
          ],
          "volumes": [
            {
              "configMap": {
                "name": "dcp-a1-1-job"
              },
              "name": "dcp-job"
            }
          ]
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "clean-orders"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    },
    "configMapSpecs": [
      {
        "name": "dcp-a1-1-job",
        "data": {
          "job.json": "{\"parameters\":{},\"results\":null,\"statements\":[\"INSERT OVERWRITE lake.mart.orders SELECT * FROM lake.raw.orders JOIN lake.raw.stores\"]}"
        }
      }
    ]
  }
}
=== CoreEtlJob/logistics/load-orders
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "logistics",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "logistics",
      "dcp/execution": "a1",
      "dcp/workload": "load-orders",
      "source": "shop",
      "tier": "gold"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "pyFiles": "local:///opt/dcp/job/main.py",
    "driverArgs": [
      "/opt/dcp/job/job.json"
    ],
    "sparkConf": {
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "1g",
      "spark.executor.cores": "1",
      "spark.executor.instances": "1",
      "spark.executor.memory": "1g",
      "spark.kubernetes.container.image": "spark-platform:4.1-latest"
    },
    "deploymentMode": "ClusterMode",
    "applicationTolerations": {
      "restartConfig": {
        "restartPolicy": "Never"
      },
      "applicationTimeoutConfig": {
        "driverStartTimeoutMillis": 900000,
        "forceTerminationGracePeriodMillis": 60000
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "load-orders",
            "source": "shop",
            "tier": "gold"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark",
              "volumeMounts": [
                {
                  "mountPath": "/opt/dcp/job",
                  "name": "dcp-job",
                  "readOnly": true
                }
              ]
            }
          ],
          "volumes": [
            {
              "configMap": {
                "name": "dcp-a1-1-job"
              },
              "name": "dcp-job"
            }
          ]
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "load-orders",
            "source": "shop",
            "tier": "gold"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    },
    "configMapSpecs": [
      {
        "name": "dcp-a1-1-job",
        "data": {
          "job.json": "{\"parameters\":{\"day\":{\"type\":\"date\",\"value\":\"2026-01-31\"}},\"results\":null,\"statements\":[\"INSERT OVERWRITE lake.raw.orders SELECT * FROM shop.orders WHERE day = :day\"]}"
        }
      }
    ]
  }
}
=== CoreEtlJob/logistics/load-stores
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "logistics",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "logistics",
      "dcp/execution": "a1",
      "dcp/workload": "load-stores",
      "tier": "gold"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "pyFiles": "jobs/stores.py",
    "sparkConf": {
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "1g",
      "spark.executor.cores": "1",
      "spark.executor.instances": "1",
      "spark.executor.memory": "1g",
      "spark.kubernetes.container.image": "spark-platform:4.1-latest"
    },
    "deploymentMode": "ClusterMode",
    "applicationTolerations": {
      "restartConfig": {
        "restartPolicy": "Never"
      },
      "applicationTimeoutConfig": {
        "driverStartTimeoutMillis": 900000,
        "forceTerminationGracePeriodMillis": 60000
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "load-stores",
            "tier": "gold"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "load-stores",
            "tier": "gold"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    }
  }
}
=== CoreEtlJob/logistics/mail
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "logistics",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "logistics",
      "dcp/execution": "a1",
      "dcp/workload": "mail"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "pyFiles": "jobs/mail.py",
    "sparkConf": {
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "1g",
      "spark.executor.cores": "1",
      "spark.executor.instances": "1",
      "spark.executor.memory": "1g",
      "spark.kubernetes.container.image": "spark-platform:4.1-latest"
    },
    "deploymentMode": "ClusterMode",
    "applicationTolerations": {
      "restartConfig": {
        "restartPolicy": "Never"
      },
      "applicationTimeoutConfig": {
        "driverStartTimeoutMillis": 900000,
        "forceTerminationGracePeriodMillis": 60000
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "mail"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "mail"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    }
  }
}
=== CoreEtlJob/logistics/report
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "logistics",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "logistics",
      "dcp/execution": "a1",
      "dcp/workload": "report"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "pyFiles": "jobs/report.py",
    "driverArgs": [
      "2026-01-31",
      "2026-01-31T12:00:00Z",
      "2026-01-31",
      "2026-01-31",
      "2026-01-31",
      "some text"
    ],
    "sparkConf": {
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "1g",
      "spark.executor.cores": "1",
      "spark.executor.instances": "1",
      "spark.executor.memory": "1g",
      "spark.kubernetes.container.image": "spark-platform:4.1-latest"
    },
    "deploymentMode": "ClusterMode",
    "applicationTolerations": {
      "restartConfig": {
        "restartPolicy": "Never"
      },
      "applicationTimeoutConfig": {
        "driverStartTimeoutMillis": 900000,
        "forceTerminationGracePeriodMillis": 60000
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "report"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "logistics",
            "dcp/execution": "a1",
            "dcp/workload": "report"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    }
  }
}
