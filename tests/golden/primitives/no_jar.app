=== CoreEtlJob/platform/connect
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "platform",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "platform",
      "dcp/execution": "a1",
      "dcp/workload": "connect"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "mainClass": "org.apache.spark.sql.connect.service.SparkConnectServer",
    "driverArgs": [
      "--port",
      "15002"
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
            "dcp/domain": "platform",
            "dcp/execution": "a1",
            "dcp/workload": "connect"
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
            "dcp/domain": "platform",
            "dcp/execution": "a1",
            "dcp/workload": "connect"
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
